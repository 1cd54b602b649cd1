//! `-m bpf`: a classic BPF program decides. Written as `tcpdump -ddd` or nfbpf_compile print it:
//! the number of instructions, then `code jt jf k` of each, with commas between.

use std::fmt::Write as _;

use stateward_wire::Family;

use crate::evaluate::Matching;
use crate::extension::{BOTH, Extension, Place};
use crate::option::{Given, OptionSpec, Refusal, Seen};
use crate::rule::Header;
use crate::save::Save;

/// `--bytecode "N,code jt jf k,…"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bpf {
    /// At most 64.
    pub program: Vec<Instruction>,
}

/// One instruction of classic BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many to skip if it is so.
    pub jt: u8,
    /// How many to skip if it is not.
    pub jf: u8,
    /// The number that comes with it.
    pub k: u32,
}

impl Bpf {
    pub(crate) const NAMES: &[&str] = &["bpf"];
    pub(crate) const FAMILIES: &[Family] = BOTH;

    pub(crate) fn begin(_: Family) -> Self {
        Self::default()
    }
}

/// Instructions that a match has room for.
const ROOM: u64 = 64;
const OPTIONS: &[OptionSpec] = &[OptionSpec::value("bytecode"), OptionSpec::value("object-pinned")];

impl Extension for Bpf {
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn set(&mut self, given: &mut Given<'_>) -> Result<(), Refusal> {
        if given.option == "object-pinned" {
            let refusal = Refusal::new(format!("bpf: there is no object `{}`", given.text));
            return Err(refusal.hint("pinned objects are another machine's: use `--bytecode`"));
        }
        self.program = program(given.text)?;
        Ok(())
    }

    fn finish(&mut self, seen: &Seen, _: &Header) -> Result<(), Refusal> {
        match seen.is_empty() {
            true => Err(Refusal::new("bpf: `--bytecode` must be given")),
            false => Ok(()),
        }
    }

    fn save(&self, save: &mut Save) {
        let mut text = self.program.len().to_string();
        for Instruction { code, jt, jf, k } in &self.program {
            // A string takes all that is written.
            let _ = write!(text, ",{code} {jt} {jf} {k}");
        }
        save.option("bytecode", format_args!("\"{text}\""));
    }

    fn accepted(&self, _: &Place<'_>) -> Result<(), Refusal> {
        match checked(&self.program) {
            Ok(()) => Ok(()),
            Err(number) => Err(Refusal::table(format!("bpf: a bad instruction {number}"))),
        }
    }
}

/// A number as `strtoul` and `sscanf` begin one, and what follows it.
fn decimal(text: &str) -> Option<(u64, &str)> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn program(text: &str) -> Result<Vec<Instruction>, Refusal> {
    let (count, mut rest) = decimal(text)
        .and_then(|(count, rest)| Some((count, rest.strip_prefix(',')?)))
        .ok_or_else(|| Refusal::new("bpf: no number of instructions").hint("\"1,6 0 0 0\""))?;
    if count == 0 || count > ROOM {
        return Err(Refusal::new(format!("bpf: {count} instructions")).hint("from 1 to 64"));
    }
    let mut program = Vec::new();
    while !rest.is_empty() && program.len() < ROOM as usize {
        let (instruction, after) = instruction(rest).ok_or_else(|| {
            let refusal = Refusal::new(format!("bpf: a bad instruction {}", program.len()));
            refusal.hint("four numbers: code jt jf k")
        })?;
        program.push(instruction);
        rest = after.find(',').and_then(|comma| after.get(comma + 1..)).unwrap_or_default();
    }
    if program.len() as u64 != count {
        let message = format!("bpf: {} instructions instead of {count}", program.len());
        return Err(Refusal::new(message));
    }
    Ok(program)
}

/// Numbers that are too large lose their upper bits.
fn instruction(text: &str) -> Option<(Instruction, &str)> {
    let (code, rest) = decimal(text)?;
    let (jt, rest) = decimal(rest)?;
    let (jf, rest) = decimal(rest)?;
    let (k, rest) = decimal(rest)?;
    Some((Instruction { code: code as u16, jt: jt as u8, jf: jf as u8, k: k as u32 }, rest))
}

impl Matching for Bpf {}

/// What the kernel demands of a program: known codes, jumps within it, a return at its end, no
/// division by nothing, no memory read that may not have been written. The number of the first bad
/// instruction.
fn checked(program: &[Instruction]) -> Result<(), usize> {
    let len = program.len();
    for (at, one) in program.iter().enumerate() {
        let Instruction { code, jt, jf, k } = *one;
        let left = len - at - 1;
        let stands = match code {
            DIVIDE | MODULO => k != 0,
            SHIFT_LEFT | SHIFT_RIGHT => k < 32,
            LOAD_MEMORY | LOAD_INDEX_MEMORY | STORE | STORE_INDEX => k < CELLS,
            JUMP => (k as usize) < left,
            _ if CONDITIONAL.contains(&code) => usize::from(jt) < left && usize::from(jf) < left,
            LOAD_WORD | LOAD_HALF | LOAD_BYTE if k >= ANCILLARY => {
                (k - ANCILLARY).is_multiple_of(4) && k - ANCILLARY <= LAST_ANCILLARY
            }
            _ => KNOWN.contains(&code),
        };
        if !stands {
            return Err(at);
        }
    }
    match program.last() {
        Some(last) if RETURNS.contains(&last.code) => memory_is_written(program),
        _ => Err(len.saturating_sub(1)),
    }
}

/// The scratch memory's cells.
const CELLS: u32 = 16;
const DIVIDE: u16 = 0x34;
const MODULO: u16 = 0x94;
const SHIFT_LEFT: u16 = 0x64;
const SHIFT_RIGHT: u16 = 0x74;
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_MEMORY: u16 = 0x60;
const LOAD_INDEX_MEMORY: u16 = 0x61;
const STORE: u16 = 0x02;
const STORE_INDEX: u16 = 0x03;
const JUMP: u16 = 0x05;
const CONDITIONAL: [u16; 8] = [0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d];
const RETURNS: [u16; 2] = [0x06, 0x16];
/// Offsets from here on are not the packet's but what the kernel knows of it.
const ANCILLARY: u32 = 0xffff_f000;
const LAST_ANCILLARY: u32 = 60;
/// The codes without further conditions.
const KNOWN: [u16; 34] = [
    0x00, 0x01, 0x04, 0x06, 0x07, 0x0c, 0x14, 0x16, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x3c, 0x40,
    0x44, 0x48, 0x4c, 0x50, 0x54, 0x5c, 0x6c, 0x7c, 0x80, 0x81, 0x84, 0x87, 0x9c, 0xa4, 0xac, 0xb1,
    0x20, 0x30,
];

/// Follows which cells are written on every way to an instruction; jumps only lead forward.
fn memory_is_written(program: &[Instruction]) -> Result<(), usize> {
    let mut masks = vec![u16::MAX; program.len()];
    let mut written = 0u16;
    for (at, Instruction { code, jt, jf, k }) in program.iter().copied().enumerate() {
        written &= masks.get(at).copied().unwrap_or_default();
        let mut leads = |by: usize| {
            masks.get_mut(at + 1 + by).into_iter().for_each(|mask| *mask &= written);
        };
        match code {
            STORE | STORE_INDEX => written |= 1 << (k % CELLS),
            LOAD_MEMORY | LOAD_INDEX_MEMORY if written & 1 << (k % CELLS) == 0 => return Err(at),
            JUMP => {
                leads(k as usize);
                written = u16::MAX;
            }
            _ if CONDITIONAL.contains(&code) => {
                leads(jt.into());
                leads(jf.into());
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}
