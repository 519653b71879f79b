//! The input of one step of a word program: the parameters of the dispatch, the place of the output word, and the
//! memory. The prover's memory holds all words. The judge's memory holds only the words that a proof reveals.

use crate::{
    kernels::shared::{heads::head_words, wide::wide_words},
    numbers::{fixed::Scale, rng::Dither, ternary::row_words},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The place of an output word of a dispatch: a buffer, and the index of the word in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordPlace {
    /// Index of the buffer that contains the word, in binding order. The saturation flag is not counted as a buffer.
    pub binding: u32,
    /// Index of the word, counted from the start of the buffer.
    pub word: u64,
}

/// The reason why a step of a word program cannot be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordFault {
    /// The step accesses a word that the proof does not reveal.
    #[error(
        "the proof does not reveal word {at} of {}",
        .binding.map_or("the scratch tensor".into(), |binding| format!("buffer {binding}"))
    )]
    Absent {
        /// Index, in binding order, of the buffer that contains the word; `None` if the word is in the scratch tensor,
        /// which holds intermediate values.
        binding: Option<usize>,
        /// Index of the word, counted from the start of the buffer or the scratch tensor.
        at: usize,
    },
    /// The step found a value that no kernel would have written or computed, so the side that committed to it is wrong.
    /// The string names the value, such as `a scale`.
    #[error("a disputed buffer contains {value} that no correct computation produces", value = .0)]
    Format(&'static str),
}

/// The memory on which a word program runs: the buffers of a dispatch, which it only reads, and a scratch tensor for
/// intermediate values, which it reads and writes.
pub trait WordMemory {
    /// Returns the value that word `at` of the buffer with index `binding` had before the dispatch.
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault>;
    /// Returns word `at` of the scratch tensor, which holds intermediate values.
    fn scratch(&mut self, at: usize) -> Result<u32, WordFault>;
    /// Sets word `at` of the scratch tensor, which holds intermediate values.
    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault>;
}

/// The input of one step of a word program. Its methods read words from the memory, and check that they have the
/// expected format.
pub struct StepContext<'a> {
    /// Parameters of the dispatch, as the 32-bit words of the kernel's struct `Params`.
    pub params: &'a [u32],
    /// The place of the output word that the word program computes.
    pub place: WordPlace,
    /// The buffers of the dispatch, which the step reads, and the scratch tensor, which it reads and writes.
    pub memory: &'a mut dyn WordMemory,
}

/// The exponents that a word program accepts. They are so small that the sum of a few of them fits in an i32.
const EXPONENTS: Range<i32> = -(1 << 24)..1 << 24;

/// Returns an intermediate value as an i64. Fails if its magnitude is 2^62 or more, which the bounds in
/// docs/ARITHMETIC.md exclude for correct inputs.
pub(crate) fn bounded(value: i128) -> Result<i64, WordFault> {
    let fits = -(1 << 62) < value && value < 1 << 62;
    if fits { Ok(value as i64) } else { Err(WordFault::Format("an intermediate value")) }
}

impl StepContext<'_> {
    /// Returns the index, in binding order, of the buffer that contains the output word.
    pub fn binding(&self) -> usize {
        self.place.binding as usize
    }

    /// Returns the index of the work unit (independent part of the dispatch) that writes the output word, and the index
    /// of the output word among the words that this unit writes. Every unit writes `words` words to the buffer.
    pub fn unit(&self, words: usize) -> (usize, usize) {
        (self.place.word as usize / words, self.place.word as usize % words)
    }

    /// Returns the value that the output word had before the dispatch.
    pub fn before(&mut self) -> Result<u32, WordFault> {
        self.memory.word(self.binding(), self.place.word as usize)
    }

    /// Sets the result (the computed output word), which is word 0 of the scratch tensor.
    pub fn set_result(&mut self, word: u32) -> Result<(), WordFault> {
        self.memory.set(0, word)
    }

    /// Sets the saturation flag, which is word 1 of the scratch tensor, if `saturated` is true. Otherwise leaves the
    /// flag as it is.
    pub fn saturate(&mut self, saturated: bool) -> Result<(), WordFault> {
        if saturated { self.memory.set(1, 1) } else { Ok(()) }
    }

    /// Stores `byte`, the byte of column `column`, in the result. The result is word `word` of a row with one byte for
    /// each column, so it holds the bytes of four columns. If `column` is not one of these columns, does nothing.
    pub fn set_result_byte(&mut self, word: usize, column: usize, byte: u8) -> Result<(), WordFault> {
        if column / 4 != word {
            return Ok(());
        }
        let result = self.memory.scratch(0)? | u32::from(byte) << (8 * (column % 4));
        self.set_result(result)
    }

    /// Stores the high or the low byte of `value`, the integer in column `column`, in the result. The result is word
    /// `word` of a wide row, which holds the high bytes of all `width` columns, then their low bytes. If the result
    /// holds no byte of `column`, does nothing.
    pub fn set_result_wide(&mut self, word: usize, width: usize, column: usize, value: i64) -> Result<(), WordFault> {
        let plane = row_words(width);
        match word < plane {
            true => self.set_result_byte(word, column, ((value + 128) >> 8) as u8),
            false => self.set_result_byte(word - plane, column, value as u8),
        }
    }

    /// Returns word `at` of the buffer with index `binding`, as it was before the dispatch.
    pub fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        self.memory.word(binding, at)
    }

    /// Returns word `at` of the buffer with index `binding` as a signed integer. Fails for −2^31, which no kernel
    /// writes.
    pub fn int(&mut self, binding: usize, at: usize) -> Result<i64, WordFault> {
        match self.word(binding, at)? as i32 {
            i32::MIN => Err(WordFault::Format("an i32 element")),
            value => Ok(value.into()),
        }
    }

    /// Returns word `at` of the buffer with index `binding`, which is itself used as an index. Fails unless it is below
    /// `limit`.
    pub fn index(&mut self, binding: usize, at: usize, limit: usize) -> Result<usize, WordFault> {
        let value = self.word(binding, at)? as usize;
        if value < limit { Ok(value) } else { Err(WordFault::Format("an index")) }
    }

    /// Returns words `at` (the low half) and `at + 1` of the buffer with index `binding` as one 64-bit value.
    pub fn pair(&mut self, binding: usize, at: usize) -> Result<u64, WordFault> {
        Ok(u64::from(self.word(binding, at)?) | u64::from(self.word(binding, at + 1)?) << 32)
    }

    /// Returns the scale in words `at` (mantissa) and `at + 1` (exponent) of the buffer with index `binding`. Fails if
    /// the exponent is out of range, or if the mantissa is neither 0 nor in `2^30..2^31`.
    pub fn scale(&mut self, binding: usize, at: usize) -> Result<Scale, WordFault> {
        let scale = Scale { mantissa: self.word(binding, at)?, exponent: self.exponent(binding, at + 1)? };
        let normal = scale.mantissa == 0 || (1 << 30..1 << 31).contains(&scale.mantissa);
        if normal { Ok(scale) } else { Err(WordFault::Format("a scale")) }
    }

    /// Returns word `at` of the buffer with index `binding` as an exponent. Fails unless it is in `-2^24..2^24`.
    pub fn exponent(&mut self, binding: usize, at: usize) -> Result<i32, WordFault> {
        let exponent = self.word(binding, at)? as i32;
        if EXPONENTS.contains(&exponent) { Ok(exponent) } else { Err(WordFault::Format("an exponent")) }
    }

    /// Returns byte `at` of the buffer with index `binding` as a signed integer. Fails for −128, which no kernel
    /// writes.
    pub fn byte(&mut self, binding: usize, at: usize) -> Result<i64, WordFault> {
        match (self.word(binding, at / 4)? >> (8 * (at % 4))) as i8 {
            i8::MIN => Err(WordFault::Format("an int8")),
            byte => Ok(byte.into()),
        }
    }

    /// Returns the integer in column `column` of a wide row, which holds the high bytes of `width` integers, then their
    /// low bytes. The row starts at word `row` of the buffer with index `binding`. Fails if the magnitude of the
    /// integer exceeds 2^14.
    pub fn wide(&mut self, binding: usize, row: usize, width: usize, column: usize) -> Result<i64, WordFault> {
        let mut plane = |at: usize| Ok((self.word(binding, at + column / 4)? >> (8 * (column % 4))) as i8 as i64);
        let value = 256 * plane(row)? + plane(row + row_words(width))?;
        if value.abs() <= 1 << 14 { Ok(value) } else { Err(WordFault::Format("a wide value")) }
    }

    /// Returns the integers of a head row, and the exponent that they share. A head row holds the values of one token
    /// for one attention head. `number` is the index of the head row in the buffer with index `binding`.
    pub fn head(&mut self, binding: usize, head_dim: usize, number: usize) -> Result<(Vec<i64>, i32), WordFault> {
        let row = number * head_words(head_dim);
        let values = (0..head_dim).map(|column| self.wide(binding, row, head_dim, column)).collect::<Result<_, _>>()?;
        Ok((values, self.exponent(binding, row + wide_words(head_dim))?))
    }

    /// Returns the key of the dither stream (source of pseudo-random bits for rounding) with index `stream`, and the
    /// position of a token in the chunk. `token` is the index of this token in the batch. Both results are read from
    /// the dither buffer, which has the index `binding`.
    pub fn dither(&mut self, binding: usize, stream: u32, token: usize) -> Result<(Dither, u32), WordFault> {
        let at = 2 + 2 * stream as usize;
        let key = Dither([self.word(binding, at)?, self.word(binding, at + 1)?]);
        Ok((key, self.word(binding, 0)?.wrapping_add(token as u32)))
    }

    /// Returns word `at` of the scratch tensor, which holds intermediate values.
    pub fn load(&mut self, at: usize) -> Result<u32, WordFault> {
        self.memory.scratch(at)
    }

    /// Returns word `at` of the scratch tensor as an exponent. Fails unless it is in `-2^24..2^24`.
    pub fn load_exponent(&mut self, at: usize) -> Result<i32, WordFault> {
        let exponent = self.load(at)? as i32;
        if EXPONENTS.contains(&exponent) { Ok(exponent) } else { Err(WordFault::Format("a stored exponent")) }
    }

    /// Sets word `at` of the scratch tensor, which holds intermediate values, to `word`.
    pub fn store(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        self.memory.set(at, word)
    }

    /// Returns words `at` (the low half) and `at + 1` of the scratch tensor as an i64. Fails if its magnitude is 2^62
    /// or more.
    pub fn load_i64(&mut self, at: usize) -> Result<i64, WordFault> {
        bounded(self.load_sum(at)?.into())
    }

    /// Returns words `at` (the low half) and `at + 1` of the scratch tensor as an i64. Unlike [`Self::load_i64`],
    /// accepts an i64 of any magnitude.
    pub fn load_sum(&mut self, at: usize) -> Result<i64, WordFault> {
        Ok((u64::from(self.load(at)?) | u64::from(self.load(at + 1)?) << 32) as i64)
    }

    /// Stores `value` in words `at` (the low half) and `at + 1` of the scratch tensor.
    pub fn store_i64(&mut self, at: usize, value: i64) -> Result<(), WordFault> {
        self.store(at, value as u32)?;
        self.store(at + 1, (value >> 32) as u32)
    }

    /// Raises the value in words `at` (the low half) and `at + 1` of the scratch tensor to `magnitude`, unless it is
    /// already larger.
    pub fn store_max(&mut self, at: usize, magnitude: u64) -> Result<(), WordFault> {
        let max = self.load_i64(at)? as u64;
        self.store_i64(at, max.max(magnitude) as i64)
    }
}

/// Divides `0..length` into consecutive parts of `size` elements, the last of which may be shorter. Returns the range
/// of the part with index `at`.
pub(crate) fn part(length: usize, size: usize, at: usize) -> Range<usize> {
    at * size..length.min((at + 1) * size)
}
