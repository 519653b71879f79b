//! The input of one step of a word program: the dispatch's params, the place of the word, and a memory of which only
//! some words may be available.

use crate::{
    kernels::shared::{heads::head_words, wide::wide_words},
    numbers::{fixed::Scale, rng::Dither, ternary::row_words},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The place of a word that a dispatch writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordPlace {
    /// Index of the buffer in binding order, not counting the flag.
    pub binding: u32,
    /// Index of the word in the buffer.
    pub word: u64,
}

/// Error returned when a step cannot be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordFault {
    /// The proof does not reveal a word that the step reads.
    #[error("word {at} of buffer {binding:?} is not revealed")]
    Absent {
        /// Index of the buffer; `None` for the scratch tensor.
        binding: Option<usize>,
        /// Index of the word in the buffer or the scratch tensor.
        at: usize,
    },
    /// The named object is encoded as no kernel would write it, so the side that committed to it is wrong.
    #[error("{0} is not in the format that the word program expects")]
    Format(&'static str),
}

/// The memory of a dispatch: its buffers, and the scratch tensor of a word program.
pub trait WordMemory {
    /// Returns word `at` of a buffer as it was before the dispatch.
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault>;
    /// Returns word `at` of the scratch tensor.
    fn scratch(&mut self, at: usize) -> Result<u32, WordFault>;
    /// Sets word `at` of the scratch tensor.
    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault>;
}

/// The input of one step of a word program, with methods that read words and check their formats.
pub struct StepContext<'a> {
    /// Params of the dispatch, as words.
    pub params: &'a [u32],
    /// The place of the word that the word program computes.
    pub place: WordPlace,
    /// The memory from which the step reads and to which it writes.
    pub memory: &'a mut dyn WordMemory,
}

/// The exponents that scales may have. Sums of a few of them easily fit an i32.
const EXPONENTS: Range<i32> = -(1 << 24)..1 << 24;

/// Returns an intermediate value as an i64. Fails unless its magnitude is below 2^62, as the bounds of the arithmetic
/// guarantee for honest values.
pub(crate) fn bounded(value: i128) -> Result<i64, WordFault> {
    let fits = -(1 << 62) < value && value < 1 << 62;
    if fits { Ok(value as i64) } else { Err(WordFault::Format("an intermediate value")) }
}

impl StepContext<'_> {
    /// Returns the index of the buffer that contains the word.
    pub fn binding(&self) -> usize {
        self.place.binding as usize
    }

    /// Returns the index of the work unit that owns the word, and the index of the word within that unit. `words` is
    /// the number of words of one unit.
    pub fn unit(&self, words: usize) -> (usize, usize) {
        (self.place.word as usize / words, self.place.word as usize % words)
    }

    /// Returns the value that the word had before the dispatch.
    pub fn before(&mut self) -> Result<u32, WordFault> {
        self.memory.word(self.binding(), self.place.word as usize)
    }

    /// Sets the result, which is word 0 of the scratch tensor.
    pub fn set_result(&mut self, word: u32) -> Result<(), WordFault> {
        self.memory.set(0, word)
    }

    /// Sets the flag, which is word 1 of the scratch tensor, if `saturated` is true.
    pub fn saturate(&mut self, saturated: bool) -> Result<(), WordFault> {
        if saturated { self.memory.set(1, 1) } else { Ok(()) }
    }

    /// Puts the byte of a column into the result, if that column is one of the four in word `word` of a row of bytes.
    pub fn set_result_byte(&mut self, word: usize, column: usize, byte: u8) -> Result<(), WordFault> {
        if column / 4 != word {
            return Ok(());
        }
        let result = self.memory.scratch(0)? | u32::from(byte) << (8 * (column % 4));
        self.set_result(result)
    }

    /// Does the same as [`Self::set_result_byte`] for word `word` of a wide row.
    pub fn set_result_wide(&mut self, word: usize, width: usize, column: usize, value: i64) -> Result<(), WordFault> {
        let plane = row_words(width);
        match word < plane {
            true => self.set_result_byte(word, column, ((value + 128) >> 8) as u8),
            false => self.set_result_byte(word - plane, column, value as u8),
        }
    }

    /// Returns word `at` of a buffer.
    pub fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        self.memory.word(binding, at)
    }

    /// Returns word `at` of a buffer as an i32. Fails for −2^31, which no kernel writes.
    pub fn int(&mut self, binding: usize, at: usize) -> Result<i64, WordFault> {
        match self.word(binding, at)? as i32 {
            i32::MIN => Err(WordFault::Format("an i32 element")),
            value => Ok(value.into()),
        }
    }

    /// Returns word `at` of a buffer as an index. Fails unless it is below `limit`.
    pub fn index(&mut self, binding: usize, at: usize, limit: usize) -> Result<usize, WordFault> {
        let value = self.word(binding, at)? as usize;
        if value < limit { Ok(value) } else { Err(WordFault::Format("an index")) }
    }

    /// Returns the u64 or i64 that words `at` and `at + 1` of a buffer contain, the lower half first.
    pub fn pair(&mut self, binding: usize, at: usize) -> Result<u64, WordFault> {
        Ok(u64::from(self.word(binding, at)?) | u64::from(self.word(binding, at + 1)?) << 32)
    }

    /// Returns the scale whose mantissa is word `at` of a buffer and whose exponent is the next word. Fails if it is
    /// not normalized.
    pub fn scale(&mut self, binding: usize, at: usize) -> Result<Scale, WordFault> {
        let scale = Scale { mantissa: self.word(binding, at)?, exponent: self.exponent(binding, at + 1)? };
        let normal = scale.mantissa == 0 || (1 << 30..1 << 31).contains(&scale.mantissa);
        if normal { Ok(scale) } else { Err(WordFault::Format("a scale")) }
    }

    /// Returns word `at` of a buffer as an exponent. Fails if it is out of range.
    pub fn exponent(&mut self, binding: usize, at: usize) -> Result<i32, WordFault> {
        let exponent = self.word(binding, at)? as i32;
        if EXPONENTS.contains(&exponent) { Ok(exponent) } else { Err(WordFault::Format("an exponent")) }
    }

    /// Returns byte `at` of a buffer as an int8. Fails for −128, which no kernel writes.
    pub fn byte(&mut self, binding: usize, at: usize) -> Result<i64, WordFault> {
        match (self.word(binding, at / 4)? >> (8 * (at % 4))) as i8 {
            i8::MIN => Err(WordFault::Format("an int8")),
            byte => Ok(byte.into()),
        }
    }

    /// Returns element `column` of the wide row that starts at word `row` and has `width` columns.
    pub fn wide(&mut self, binding: usize, row: usize, width: usize, column: usize) -> Result<i64, WordFault> {
        let mut plane = |at: usize| Ok((self.word(binding, at + column / 4)? >> (8 * (column % 4))) as i8 as i64);
        let value = 256 * plane(row)? + plane(row + row_words(width))?;
        if value.abs() <= 1 << 14 { Ok(value) } else { Err(WordFault::Format("a wide value")) }
    }

    /// Returns the values and the exponent of the head row with index `number`.
    pub fn head(&mut self, binding: usize, head_dim: usize, number: usize) -> Result<(Vec<i64>, i32), WordFault> {
        let row = number * head_words(head_dim);
        let values = (0..head_dim).map(|column| self.wide(binding, row, head_dim, column)).collect::<Result<_, _>>()?;
        Ok((values, self.exponent(binding, row + wide_words(head_dim))?))
    }

    /// Returns the key of a stream, which a dither buffer contains, and the position in the chunk of token `token` of
    /// the run.
    pub fn dither(&mut self, binding: usize, stream: u32, token: usize) -> Result<(Dither, u32), WordFault> {
        let at = 2 + 2 * stream as usize;
        let key = Dither([self.word(binding, at)?, self.word(binding, at + 1)?]);
        Ok((key, self.word(binding, 0)?.wrapping_add(token as u32)))
    }

    /// Returns word `at` of the scratch tensor.
    pub fn load(&mut self, at: usize) -> Result<u32, WordFault> {
        self.memory.scratch(at)
    }

    /// Returns word `at` of the scratch tensor as an exponent. Fails if it is out of range.
    pub fn load_exponent(&mut self, at: usize) -> Result<i32, WordFault> {
        let exponent = self.load(at)? as i32;
        if EXPONENTS.contains(&exponent) { Ok(exponent) } else { Err(WordFault::Format("a stored exponent")) }
    }

    /// Sets word `at` of the scratch tensor.
    pub fn store(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        self.memory.set(at, word)
    }

    /// Returns words `at` and `at + 1` of the scratch tensor as an i64. Fails unless its magnitude is below 2^62.
    pub fn load_i64(&mut self, at: usize) -> Result<i64, WordFault> {
        bounded(self.load_sum(at)?.into())
    }

    /// Returns words `at` and `at + 1` of the scratch tensor as an i64 of any value.
    pub fn load_sum(&mut self, at: usize) -> Result<i64, WordFault> {
        Ok((u64::from(self.load(at)?) | u64::from(self.load(at + 1)?) << 32) as i64)
    }

    /// Sets words `at` and `at + 1` of the scratch tensor to an i64.
    pub fn store_i64(&mut self, at: usize, value: i64) -> Result<(), WordFault> {
        self.store(at, value as u32)?;
        self.store(at + 1, (value >> 32) as u32)
    }

    /// Raises the i64 in words `at` and `at + 1` of the scratch tensor to `magnitude` if it is smaller.
    pub fn store_max(&mut self, at: usize, magnitude: u64) -> Result<(), WordFault> {
        let max = self.load_i64(at)? as u64;
        self.store_i64(at, max.max(magnitude) as i64)
    }
}

/// Cuts `0..length` into parts of `size` and returns the range of the part with index `at`.
pub(crate) fn part(length: usize, size: usize, at: usize) -> Range<usize> {
    at * size..length.min((at + 1) * size)
}
