//! `testkit judge` holds random dialogues before the running kernel and the engine, for as long as
//! is wanted; `testkit hold` replays kept cases and tells what both sides did; `testkit large` writes
//! large rulesets to measure with.

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the judge is the Linux kernel: there is none here");
    std::process::exit(2);
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::fs;
    use std::io::{IsTerminal, Write, stderr, stdout};
    use std::process::ExitCode;
    use std::time::{Duration, Instant};

    use testkit::dialogue::{Plan, Protocol};
    use testkit::judge::{Campaign, Judge, Until, case};
    use testkit::{kernel, ruleset};

    const USAGE: &str = "\
usage: testkit judge [--minutes N | --packets N] [--seed S] [--protocol NAME[,NAME…]]
                     [--family 4|6] [--length PACKETS] [--spoilt yes|no] [--ruled PERCENT]
                     [--rules FILE] [--rules6 FILE] [--nat PERCENT] [--helpers PERCENT]
                     [--keep DIRECTORY]
       testkit hold [--tell] CASE…
       testkit large hosts|mixed|services COUNT SEED
       A judge of all protocols over minutes fails, too, if it has touched too little: what is missing.";

    pub(super) fn main() -> ExitCode {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let result = match words.as_slice() {
            ["judge", options @ ..] => judge(options),
            ["hold", "--tell", files @ ..] => hold(files, true),
            ["hold", files @ ..] => hold(files, false),
            ["large", style, count, seed] => large(style, count, seed),
            _ => Err(USAGE.into()),
        };
        match result {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }

    struct Options {
        until: Until,
        seed: u64,
        plan: Plan,
        keep: Option<String>,
        /// The run is to touch everything often enough: a long one, of all there is.
        complete: bool,
    }

    fn options(words: &[&str]) -> Result<Options, Box<dyn Error>> {
        let until = Until::Time(Duration::from_secs(60));
        let plan = Plan::default();
        let mut options = Options { until, seed: 1, plan, keep: None, complete: false };
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(USAGE.into()) };
            match *name {
                "--minutes" => {
                    options.until =
                        Until::Time(Duration::from_secs_f64(value.parse::<f64>()? * 60.0));
                    options.complete = true;
                }
                "--packets" => options.until = Until::Packets(value.parse()?),
                "--seed" => options.seed = value.parse()?,
                "--length" => options.plan.packets = value.parse()?,
                "--expiry" => options.plan.expiry = *value == "yes",
                "--ruled" => options.plan.ruled = value.parse()?,
                "--nat" => options.plan.natted = value.parse()?,
                "--helpers" => options.plan.helped = value.parse()?,
                "--rules" | "--rules6" => {
                    let text =
                        fs::read_to_string(value).map_err(|error| format!("{value}: {error}"))?;
                    let rules = options.plan.rules.get_or_insert_default();
                    rules[usize::from(*name == "--rules6")] = text;
                    options.plan.ruled = 100;
                }
                "--spoilt" => options.plan.spoilt = *value != "no",
                "--keep" => options.keep = Some((*value).to_owned()),
                "--family" => options.plan.families = [*value != "6", *value != "4"],
                "--protocol" => {
                    let names = value.split(',').map(str::parse::<Protocol>);
                    options.plan.protocols = names.collect::<Result<_, _>>()?;
                }
                _ => return Err(USAGE.into()),
            }
        }
        options.complete &= options.plan == Plan::default();
        Ok(options)
    }

    fn judge(words: &[&str]) -> Result<bool, Box<dyn Error>> {
        let options = options(words)?;
        kernel::available()?;
        let mut campaign = Campaign::new(options.plan, options.seed)?;
        let progress = stderr().is_terminal();
        let mut told = Instant::now();
        campaign.run(options.until, |campaign| {
            if progress && told.elapsed() > Duration::from_millis(500) {
                told = Instant::now();
                // A progress line that cannot be written is not missed.
                let _ = write!(stderr(), "\r{campaign}\x1b[K");
            }
        })?;
        if progress {
            eprintln!();
        }
        for (kind, finding) in campaign.found() {
            println!("seeds {:?}: {kind}\n{}", finding.seeds, finding.case());
            if let Some(directory) = &options.keep {
                fs::write(format!("{directory}/{}.txt", finding.name()), finding.case())?;
            }
        }
        println!("{}{campaign}", campaign.coverage());
        let gaps = campaign.coverage().gaps();
        gaps.iter().for_each(|gap| println!("missing: {gap}"));
        Ok(campaign.found().next().is_none() && (gaps.is_empty() || !options.complete))
    }

    fn large(style: &str, count: &str, seed: &str) -> Result<bool, Box<dyn Error>> {
        let text = ruleset::large::large(style.parse()?, count.parse()?, seed.parse()?);
        stdout().lock().write_all(text.as_bytes())?;
        Ok(true)
    }

    fn hold(files: &[&str], tell: bool) -> Result<bool, Box<dyn Error>> {
        kernel::available()?;
        let mut judge = Judge::new()?;
        let mut equal = true;
        for file in files {
            let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
            let dialogue = case::read(&text).map_err(|error| format!("{file}: {error}"))?;
            if tell {
                println!("{file}\n{}", judge.tell(&dialogue)?);
            }
            for difference in judge.hold(&dialogue)? {
                println!("{file}: {difference}");
                equal = false;
            }
        }
        Ok(equal)
    }
}
