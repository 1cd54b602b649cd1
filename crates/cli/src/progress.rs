//! The progress bar: on standard error, on a terminal, and only for what takes long.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stateward_replay::run::Replay;
use stateward_replay::text::Grouped;

/// Calls between two looks at the clock.
const STRIDE: u32 = 1024;
/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(700);

/// A bar that shows itself in time.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    calls: u32,
    /// Bytes of all captures, if that is known.
    total: Option<u64>,
}

impl Progress {
    /// For these files; `quiet` if nothing is printed meanwhile.
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = &'a str>, quiet: bool) -> Self {
        let visible = io::stderr().is_terminal() && (quiet || !io::stdout().is_terminal());
        let total = files.into_iter().map(plain_length).sum();
        let bar =
            visible.then(|| ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()));
        Self { bar, began: Instant::now(), calls: 0, total }
    }

    /// Another packet, or burst of them, is through.
    pub(crate) fn tick(&mut self, replay: &Replay) {
        let Some(bar) = &self.bar else { return };
        self.calls += 1;
        if !self.calls.is_multiple_of(STRIDE) || self.began.elapsed() < PATIENCE {
            return;
        }
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.set_style(style(self.total.is_some()));
        }
        bar.set_position(replay.merge().captures().map(|capture| capture.offset()).sum());
        bar.set_message(format!("{} packets", Grouped(replay.summary().packets)));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(with_length: bool) -> ProgressStyle {
    let template = match with_length {
        true => "{bar:40} {percent:>3} %  {msg}, {eta} left",
        false => "{spinner} {bytes} unpacked, {msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The length of a file that is not compressed; positions in one that is are those of its content.
fn plain_length(file: &str) -> Option<u64> {
    let length = fs::metadata(file).ok().filter(fs::Metadata::is_file)?.len();
    let mut magic = [0; 4];
    fs::File::open(file).ok()?.read_exact(&mut magic).ok()?;
    let packed = matches!(magic, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]);
    (!packed).then_some(length)
}
