//! What a step of a tape sees: the dispatch's params, the word asked for, and a memory of which only some may be there.

use crate::{
    kernels::shared::{heads::head_words, wide::wide_words},
    numbers::{fixed::Scale, rng::Dither, ternary::row_words},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A word that a dispatch writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordPlace {
    /// Which buffer, in binding order, the flag left out.
    pub binding: u32,
    /// Which word of it.
    pub word: u64,
}

/// Why a step comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordFault {
    /// The word is not among those shown.
    #[error("word {at} of buffer {binding:?} is not shown")]
    Absent {
        /// Which buffer; none for the scratch tensor.
        binding: Option<usize>,
        /// Which word.
        at: usize,
    },
    /// A word that no kernel writes there: whoever committed to it is wrong.
    #[error("{0} is not of its format")]
    Format(&'static str),
}

/// Words by address.
pub trait WordMemory {
    /// A word of a buffer as it was before the dispatch.
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault>;
    /// A word of the scratch tensor.
    fn scratch(&mut self, at: usize) -> Result<u32, WordFault>;
    /// Sets a word of the scratch tensor.
    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault>;
}

/// One step's view.
pub struct StepContext<'a> {
    /// The dispatch's params.
    pub params: &'a [u32],
    /// What is asked for.
    pub place: WordPlace,
    /// What there is to read.
    pub memory: &'a mut dyn WordMemory,
}

/// Exponents that scales may have: sums of a few stay far within i32.
const EXPONENTS: Range<i32> = -(1 << 24)..1 << 24;

/// A value of which every bound of the arithmetic says that it has fewer than 62 bits.
pub(crate) fn bounded(value: i128) -> Result<i64, WordFault> {
    let fits = -(1 << 62) < value && value < 1 << 62;
    if fits { Ok(value as i64) } else { Err(WordFault::Format("an intermediate value")) }
}

impl StepContext<'_> {
    /// The buffer asked about.
    pub fn binding(&self) -> usize {
        self.place.binding as usize
    }

    /// The unit that owns the word asked for, of so many words a unit, and the word's place in it.
    pub fn unit(&self, words: usize) -> (usize, usize) {
        (self.place.word as usize / words, self.place.word as usize % words)
    }

    /// The word asked for as it was before the dispatch.
    pub fn before(&mut self) -> Result<u32, WordFault> {
        self.memory.word(self.binding(), self.place.word as usize)
    }

    /// Says what the word is.
    pub fn answer(&mut self, word: u32) -> Result<(), WordFault> {
        self.memory.set(0, word)
    }

    /// Raises the flag where a value left its range.
    pub fn saturate(&mut self, saturated: bool) -> Result<(), WordFault> {
        if saturated { self.memory.set(1, 1) } else { Ok(()) }
    }

    /// Puts a byte into the answer, where the column is one of the four of word `word` of a byte row.
    pub fn answer_byte(&mut self, word: usize, column: usize, byte: u8) -> Result<(), WordFault> {
        if column / 4 != word {
            return Ok(());
        }
        let answer = self.memory.scratch(0)? | u32::from(byte) << (8 * (column % 4));
        self.answer(answer)
    }

    /// As [`Self::answer_byte`], of word `word` of a wide row.
    pub fn answer_wide(&mut self, word: usize, width: usize, column: usize, value: i64) -> Result<(), WordFault> {
        let plane = row_words(width);
        match word < plane {
            true => self.answer_byte(word, column, ((value + 128) >> 8) as u8),
            false => self.answer_byte(word - plane, column, value as u8),
        }
    }

    /// A word.
    pub fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        self.memory.word(binding, at)
    }

    /// An element of an i32 row.
    pub fn int(&mut self, binding: usize, at: usize) -> Result<i64, WordFault> {
        match self.word(binding, at)? as i32 {
            i32::MIN => Err(WordFault::Format("an i32 element")),
            value => Ok(value.into()),
        }
    }

    /// A word that counts something below `limit`.
    pub fn index(&mut self, binding: usize, at: usize, limit: usize) -> Result<usize, WordFault> {
        let value = self.word(binding, at)? as usize;
        if value < limit { Ok(value) } else { Err(WordFault::Format("an index")) }
    }

    /// A u64 or i64 of two words.
    pub fn pair(&mut self, binding: usize, at: usize) -> Result<u64, WordFault> {
        Ok(u64::from(self.word(binding, at)?) | u64::from(self.word(binding, at + 1)?) << 32)
    }

    /// A scale.
    pub fn scale(&mut self, binding: usize, at: usize) -> Result<Scale, WordFault> {
        let scale = Scale { mantissa: self.word(binding, at)?, exponent: self.exponent(binding, at + 1)? };
        let normal = scale.mantissa == 0 || (1 << 30..1 << 31).contains(&scale.mantissa);
        if normal { Ok(scale) } else { Err(WordFault::Format("a scale")) }
    }

    /// An exponent.
    pub fn exponent(&mut self, binding: usize, at: usize) -> Result<i32, WordFault> {
        let exponent = self.word(binding, at)? as i32;
        if EXPONENTS.contains(&exponent) { Ok(exponent) } else { Err(WordFault::Format("an exponent")) }
    }

    /// Byte `at` of a buffer, within ±127.
    pub fn byte(&mut self, binding: usize, at: usize) -> Result<i64, WordFault> {
        match (self.word(binding, at / 4)? >> (8 * (at % 4))) as i8 {
            i8::MIN => Err(WordFault::Format("an int8")),
            byte => Ok(byte.into()),
        }
    }

    /// Element `column` of a wide row that starts at a word.
    pub fn wide(&mut self, binding: usize, row: usize, width: usize, column: usize) -> Result<i64, WordFault> {
        let mut plane = |at: usize| Ok((self.word(binding, at + column / 4)? >> (8 * (column % 4))) as i8 as i64);
        let value = 256 * plane(row)? + plane(row + row_words(width))?;
        if value.abs() <= 1 << 14 { Ok(value) } else { Err(WordFault::Format("a wide value")) }
    }

    /// The `number`-th head row: its values and its exponent.
    pub fn head(&mut self, binding: usize, head_dim: usize, number: usize) -> Result<(Vec<i64>, i32), WordFault> {
        let row = number * head_words(head_dim);
        let values = (0..head_dim).map(|column| self.wide(binding, row, head_dim, column)).collect::<Result<_, _>>()?;
        Ok((values, self.exponent(binding, row + wide_words(head_dim))?))
    }

    /// Stream `stream` of a dither buffer, and the chunk position of a token.
    pub fn dither(&mut self, binding: usize, stream: u32, token: usize) -> Result<(Dither, u32), WordFault> {
        let at = 2 + 2 * stream as usize;
        let key = Dither([self.word(binding, at)?, self.word(binding, at + 1)?]);
        Ok((key, self.word(binding, 0)?.wrapping_add(token as u32)))
    }

    /// A scratch word.
    pub fn load(&mut self, at: usize) -> Result<u32, WordFault> {
        self.memory.scratch(at)
    }

    /// A scratch word as an exponent.
    pub fn load_exponent(&mut self, at: usize) -> Result<i32, WordFault> {
        let exponent = self.load(at)? as i32;
        if EXPONENTS.contains(&exponent) { Ok(exponent) } else { Err(WordFault::Format("a load exponent")) }
    }

    /// Sets a scratch word.
    pub fn store(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        self.memory.set(at, word)
    }

    /// Two scratch words as an i64 of fewer than 62 bits.
    pub fn load_i64(&mut self, at: usize) -> Result<i64, WordFault> {
        bounded(self.load_sum(at)?.into())
    }

    /// Two scratch words as any i64.
    pub fn load_sum(&mut self, at: usize) -> Result<i64, WordFault> {
        Ok((u64::from(self.load(at)?) | u64::from(self.load(at + 1)?) << 32) as i64)
    }

    /// Sets two scratch words.
    pub fn store_i64(&mut self, at: usize, value: i64) -> Result<(), WordFault> {
        self.store(at, value as u32)?;
        self.store(at + 1, (value >> 32) as u32)
    }

    /// Raises two scratch words to a larger magnitude.
    pub fn store_max(&mut self, at: usize, magnitude: u64) -> Result<(), WordFault> {
        let max = self.load_i64(at)? as u64;
        self.store_i64(at, max.max(magnitude) as i64)
    }
}

/// Part number `at` of `0..length` in parts of `size`.
pub(crate) fn part(length: usize, size: usize, at: usize) -> Range<usize> {
    at * size..length.min((at + 1) * size)
}
