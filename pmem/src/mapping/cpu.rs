//! The instructions that write cache lines back, and which of them this processor has.
//!
//! Access rules of the unsafe blocks: they name one address that the caller keeps mapped, and change nothing that Rust can
//! observe. None is marked `nomem` or `readonly`, so the compiler issues earlier stores before them and later
//! ones after. Neither the standard library's intrinsics nor its feature detection know `clwb` yet.

/// An instruction that writes a cache line back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instruction {
    /// Writes back and evicts; each waits for the one before.
    Clflush,
    /// Writes back and evicts.
    ClflushOpt,
    /// Writes back and may keep the line.
    Clwb,
}

/// What the processor says of itself, as far as it concerns write-back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuFeatures {
    /// Highest basic leaf that can be asked for.
    pub max_leaf: u32,
    /// EDX of leaf 1.
    pub leaf_1_edx: u32,
    /// EBX of leaf 7, subleaf 0. Only meaningful if `max_leaf` is at least 7.
    pub leaf_7_ebx: u32,
}

impl CpuFeatures {
    const CLFLUSH: u32 = 1 << 19;
    const CLFLUSHOPT: u32 = 1 << 23;
    const CLWB: u32 = 1 << 24;

    /// Of this processor. All zero where there is no such instruction to ask for.
    #[must_use]
    pub fn of_this_cpu() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{__cpuid, __cpuid_count};
            let max_leaf = __cpuid(0).eax;
            Self {
                max_leaf,
                leaf_1_edx: __cpuid(1).edx,
                leaf_7_ebx: if max_leaf >= 7 { __cpuid_count(7, 0).ebx } else { 0 },
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::default()
    }

    /// Whether it has the instruction.
    #[must_use]
    pub fn has(&self, instruction: Instruction) -> bool {
        match instruction {
            Instruction::Clflush => self.leaf_1_edx & Self::CLFLUSH != 0,
            Instruction::ClflushOpt => self.max_leaf >= 7 && self.leaf_7_ebx & Self::CLFLUSHOPT != 0,
            Instruction::Clwb => self.max_leaf >= 7 && self.leaf_7_ebx & Self::CLWB != 0,
        }
    }

    /// The cheapest that it has.
    #[must_use]
    pub fn best(&self) -> Option<Instruction> {
        [Instruction::Clwb, Instruction::ClflushOpt, Instruction::Clflush].into_iter().find(|i| self.has(*i))
    }
}

/// Proof that this processor has the instruction. Only the constructors here make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteBack(Instruction);

impl WriteBack {
    /// The cheapest instruction that this processor has; `None` if it has none.
    #[must_use]
    pub fn detect() -> Option<Self> {
        CpuFeatures::of_this_cpu().best().map(Self)
    }

    /// This instruction, if the processor has it.
    #[must_use]
    pub fn with(instruction: Instruction) -> Option<Self> {
        CpuFeatures::of_this_cpu().has(instruction).then_some(Self(instruction))
    }

    /// Which one it is.
    #[must_use]
    pub fn instruction(self) -> Instruction {
        self.0
    }

    /// Starts writing back the lines from `first` to `last`, both inclusive and aligned to a line. Not durable until
    /// [`store_fence`].
    ///
    /// # Safety
    /// All of the range must stay mapped for the whole call.
    #[inline]
    pub(super) unsafe fn lines(self, first: *const u8, last: *const u8) {
        // SAFETY: `self` proves the instruction exists; the caller keeps the lines mapped.
        unsafe {
            match self.0 {
                Instruction::Clwb => each_line(first, last, |line| clwb(line)),
                Instruction::ClflushOpt => each_line(first, last, |line| clflushopt(line)),
                Instruction::Clflush => each_line(first, last, |line| clflush(line)),
            }
        }
    }
}

#[inline(always)]
fn each_line(first: *const u8, last: *const u8, write_back: impl Fn(*const u8)) {
    let mut line = first;
    loop {
        write_back(line);
        if line >= last {
            break;
        }
        line = line.wrapping_add(crate::mem::LINE as usize);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;

    /// # Safety
    /// The processor has the instruction, and `line` is mapped.
    #[inline(always)]
    pub(super) unsafe fn clwb(line: *const u8) {
        // SAFETY: as the caller promises; no value that Rust can observe changes.
        unsafe { asm!("clwb [{0}]", in(reg) line, options(nostack, preserves_flags)) }
    }

    /// # Safety
    /// The processor has the instruction, and `line` is mapped.
    #[inline(always)]
    pub(super) unsafe fn clflushopt(line: *const u8) {
        // SAFETY: as the caller promises; no value that Rust can observe changes.
        unsafe { asm!("clflushopt [{0}]", in(reg) line, options(nostack, preserves_flags)) }
    }

    /// # Safety
    /// The processor has the instruction, and `line` is mapped.
    #[inline(always)]
    pub(super) unsafe fn clflush(line: *const u8) {
        // SAFETY: as the caller promises; no value that Rust can observe changes.
        unsafe { asm!("clflush [{0}]", in(reg) line, options(nostack, preserves_flags)) }
    }

    /// Waits until every line that this thread has written back is in the persistence domain.
    #[inline(always)]
    pub(super) fn sfence() {
        // SAFETY: part of the base instruction set; changes no value.
        unsafe { asm!("sfence", options(nostack, preserves_flags)) }
    }
}

#[cfg(target_arch = "x86_64")]
use x86_64::{clflush, clflushopt, clwb, sfence};

/// No [`WriteBack`] is ever made on other processors, so none of these is reached.
#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    /// # Safety
    /// Never called.
    pub(super) unsafe fn clwb(_: *const u8) {
        unreachable!("no write-back instruction on this processor");
    }
    pub(super) use {clwb as clflush, clwb as clflushopt};
    pub(super) fn sfence() {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}
#[cfg(not(target_arch = "x86_64"))]
use elsewhere::{clflush, clflushopt, clwb, sfence};

/// Waits until every line that this thread has written back is in the persistence domain, and every store before is
/// visible.
#[inline(always)]
pub(super) fn store_fence() {
    sfence();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_instruction_that_the_processor_has_is_chosen() {
        let cpu = |max_leaf, leaf_1_edx, leaf_7_ebx| CpuFeatures { max_leaf, leaf_1_edx, leaf_7_ebx };
        let (flush, opt, wb) = (CpuFeatures::CLFLUSH, CpuFeatures::CLFLUSHOPT, CpuFeatures::CLWB);
        for (features, best) in [
            (cpu(7, flush, opt | wb), Some(Instruction::Clwb)),
            (cpu(31, flush, wb), Some(Instruction::Clwb)),
            (cpu(7, flush, opt), Some(Instruction::ClflushOpt)),
            (cpu(7, flush, !(opt | wb)), Some(Instruction::Clflush)),
            // Leaf 7 says nothing if the processor does not know it.
            (cpu(6, flush, opt | wb), Some(Instruction::Clflush)),
            (cpu(7, !flush, 0), None),
            (cpu(0, 0, 0), None),
        ] {
            assert_eq!(features.best(), best, "{features:x?}");
        }
    }

    #[test]
    fn the_bits_are_where_the_manual_says() {
        assert_eq!(
            (CpuFeatures::CLFLUSH, CpuFeatures::CLFLUSHOPT, CpuFeatures::CLWB),
            (0x8_0000, 0x80_0000, 0x100_0000)
        );
    }

    #[test]
    fn the_kernel_names_the_same_instructions() {
        let Ok(info) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let Some(flags) = info.lines().find_map(|line| line.strip_prefix("flags")) else { return };
        let flags: Vec<_> = flags.split_whitespace().collect();
        let cpu = CpuFeatures::of_this_cpu();
        for (instruction, name) in [
            (Instruction::Clflush, "clflush"),
            (Instruction::ClflushOpt, "clflushopt"),
            (Instruction::Clwb, "clwb"),
        ] {
            assert_eq!(cpu.has(instruction), flags.contains(&name), "{name}");
            assert_eq!(WriteBack::with(instruction).is_some(), cpu.has(instruction));
        }
        assert_eq!(WriteBack::detect().map(WriteBack::instruction), cpu.best());
    }
}
