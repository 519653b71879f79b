//! Fixed-point arithmetic: the integer operations by which all exact results are computed.
//!
//! A [`Scale`] is `mantissa · 2^exponent` with a 31-bit mantissa. All other values are integers, each of which
//! represents a real value when it is multiplied by a scale. Every result is an exact function of integers, so the WGSL
//! functions in `shaders/shared/fixed.wgsl` return the same bits.

/// The base-2 logarithm of the largest magnitude of a *wide* value, which is an integer that is stored as two int8
/// values.
pub const WIDE_BITS: u32 = 14;
/// The base-2 logarithm of the largest magnitude that a normalized i32 row can contain. Normalization shifts the
/// integers of a row right, until none exceeds this magnitude.
pub const ROW_BITS: u32 = 30;

/// A non-negative real value `mantissa · 2^exponent`. The mantissa is 0 or in `2^30..2^31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scale {
    /// The mantissa, which is 0 or in `2^30..2^31`.
    pub mantissa: u32,
    /// The exponent of the power of two by which the mantissa is multiplied.
    pub exponent: i32,
}

impl Scale {
    /// The scale 0.
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0 };
    /// The scale 1.
    pub const ONE: Self = Self::power_of_two(0);

    /// Returns the scale `2^exponent`.
    pub const fn power_of_two(exponent: i32) -> Self {
        Self { mantissa: 1 << 30, exponent: exponent - 30 }
    }

    /// Returns `value · 2^exponent`. The mantissa is rounded to 31 bits, ties to even.
    pub fn new(value: u64, exponent: i32) -> Self {
        if value == 0 {
            return Self::ZERO;
        }
        let bits = bits(value);
        if bits <= 31 {
            return Self { mantissa: (value << (31 - bits)) as u32, exponent: exponent - (31 - bits) as i32 };
        }
        let shift = bits - 31;
        let rounded = round_even_u64(value, shift);
        if rounded == 1 << 31 {
            Self { mantissa: 1 << 30, exponent: exponent + shift as i32 + 1 }
        } else {
            Self { mantissa: rounded as u32, exponent: exponent + shift as i32 }
        }
    }

    /// Returns the scale that is nearest to `value`, or `None` if `value` is negative, infinite or NaN.
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        Some(if exponent == 0 { Self::new(fraction, -1074) } else { Self::new(fraction | 1 << 52, exponent - 1075) })
    }

    /// Returns the value as f64. The result is exact unless the exponent is outside the range of f64.
    pub fn to_f64(self) -> f64 {
        f64::from(self.mantissa) * power_of_two_f64(self.exponent)
    }

    /// Returns the product `self · other`. The mantissa is rounded to 31 bits, ties to even.
    pub fn multiply(self, other: Self) -> Self {
        Self::new(u64::from(self.mantissa) * u64::from(other.mantissa), self.exponent + other.exponent)
    }

    /// Returns the sum `self + other`. The smaller term first loses all bits that are more than 31 places below the
    /// lowest bit of the larger term. The mantissa of the sum is then rounded to 31 bits, ties to even.
    pub fn plus(self, other: Self) -> Self {
        if self.mantissa == 0 {
            return other;
        }
        if other.mantissa == 0 {
            return self;
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let distance = ((high.exponent - low.exponent) as u32).min(63);
        Self::new((u64::from(high.mantissa) << 31) + ((u64::from(low.mantissa) << 31) >> distance), high.exponent - 31)
    }

    /// Returns `1 / self`. Its mantissa is `floor(2^61 / self.mantissa)`, normalized to 31 bits. Returns 0 if `self` is
    /// 0.
    pub fn reciprocal(self) -> Self {
        if self.mantissa == 0 {
            return Self::ZERO;
        }
        Self::new((1 << 61) / u64::from(self.mantissa), -61 - self.exponent)
    }

    /// Returns `1 / sqrt(self)`, which is computed as the [`reciprocal`](Self::reciprocal) of `sqrt(self)`. The
    /// mantissa of `sqrt(self)` is an integer square root of 31 bits. Returns 0 if `self` is 0.
    pub fn inverse_sqrt(self) -> Self {
        if self.mantissa == 0 {
            return Self::ZERO;
        }
        let odd = (self.exponent & 1) as u32;
        let root = (u64::from(self.mantissa) << (30 + odd)).isqrt();
        Self { mantissa: root as u32, exponent: (self.exponent - odd as i32 - 30) >> 1 }.reciprocal()
    }

    /// Returns `self · 2^exponent`, exactly.
    pub fn shift(self, exponent: i32) -> Self {
        if self.mantissa == 0 { self } else { Self { exponent: self.exponent + exponent, ..self } }
    }

    /// Returns the two words by which buffers represent the scale: the mantissa, then the exponent.
    pub fn words(self) -> [u32; 2] {
        [self.mantissa, self.exponent as u32]
    }

    /// Returns the scale that the first two words of a slice represent. This is the inverse of [`words`](Self::words).
    pub fn from_words(words: &[u32]) -> Self {
        Self { mantissa: words[0], exponent: words[1] as i32 }
    }
}

/// Returns `2^exponent` as f64, or 0 if the power is too small for f64, or infinity if it is too large.
pub fn power_of_two_f64(exponent: i32) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        _ => 0.0,
    }
}

/// Returns the exact product of two 32-bit integers, for which most processors have a vector instruction. A loop that
/// multiplies i64 values takes several times as long on many of them. The caller converts its operands to i32, and must
/// ensure that they fit. The mantissa of a [`Scale`] does.
#[inline(always)]
pub fn product(a: i32, b: i32) -> i64 {
    i64::from(a) * i64::from(b)
}

/// Returns the number of bits of `value`, not counting leading zeros. Returns 0 if `value` is 0.
pub fn bits(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Returns `value / 2^shift`, rounded to the nearest integer, ties to even. `shift` must be ≤ 63.
#[inline(always)]
pub fn round_even_u64(value: u64, shift: u32) -> u64 {
    if shift == 0 {
        return value;
    }
    let quotient = value >> shift;
    let half = 1u64 << (shift - 1);
    let rest = value & ((half << 1) - 1);
    quotient + u64::from(rest > half || (rest == half && quotient & 1 == 1))
}

/// Returns `value / 2^shift`, rounded to the nearest integer, ties to even. `shift` must be ≤ 62, and `value` must be
/// < 2^62. This is [`round_even`] for values that are not negative; it needs fewer vector instructions.
#[inline(always)]
pub fn round_even_small(value: u64, shift: u32) -> u64 {
    let half = (1 << shift) >> 1;
    let odd = (value >> shift) & 1;
    (value + half - (u64::from(half > 0) & (odd ^ 1))) >> shift
}

/// Returns `value / 2^shift`, rounded to the nearest integer, ties to even. `shift` must be ≤ 63, and `|value|` must
/// be < 2^62.
///
/// If `shift` is not 0, the function adds `2^(shift − 1) − 1 + (lowest bit of the quotient)` and then shifts
/// arithmetically, which rounds positive and negative values by the same rule.
#[inline(always)]
pub fn round_even(value: i64, shift: u32) -> i64 {
    let half = ((1u64 << shift) >> 1) as i64;
    let odd = (value >> shift) & 1;
    (value + half - (i64::from(half > 0) & (odd ^ 1))) >> shift
}

/// Returns `floor(value / 2^shift + dither / 2^16)`. If `dither` is uniform in 0..2^16, the value is rounded up with a
/// probability equal to the fractional part of `value / 2^shift`. The probability has a precision of 16 bits. `shift`
/// must be ≤ 62, `|value|` must be < 2^62, and `dither` must be < 2^16.
#[inline(always)]
pub fn round_dither(value: i64, shift: u32, dither: u32) -> i64 {
    (value + ((i64::from(dither) << shift.saturating_sub(16)) >> 16u32.saturating_sub(shift))) >> shift
}

/// Returns `value · 2^-shift` as i32, and whether the result saturated. A right shift (`shift` > 0) rounds to the
/// nearest integer, ties to even. A result beyond ±(2^31 − 1) is clamped and counts as saturated.
#[inline(always)]
pub fn shift_to_i32(value: i64, shift: i32) -> (i32, bool) {
    let shifted = if shift >= 0 {
        round_even(value, shift.min(63) as u32)
    } else {
        let left = (-shift).min(31) as u32;
        value.clamp(-(1 << 31), 1 << 31) << left
    };
    saturate(shifted)
}

/// Returns the value clamped to ±(2^31 − 1), and whether this changed the value.
#[inline(always)]
pub fn saturate(value: i64) -> (i32, bool) {
    let limit = i64::from(i32::MAX);
    (value.clamp(-limit, limit) as i32, value > limit || value < -limit)
}

/// Returns the smallest right shift for which `max >> shift` is below `2^target`.
#[inline(always)]
pub fn shift_for(max: u64, target: u32) -> u32 {
    bits(max).saturating_sub(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_ties_to_even_for_both_signs() {
        for value in -4096i64..4096 {
            for shift in 0..8 {
                let exact = value as f64 / f64::from(1 << shift);
                assert_eq!(round_even(value, shift), exact.round_ties_even() as i64, "{value} >> {shift}");
                assert_eq!(round_even_u64(value.unsigned_abs(), shift), exact.abs().round_ties_even() as u64);
                assert_eq!(round_even_small(value.unsigned_abs(), shift), exact.abs().round_ties_even() as u64);
            }
        }
        assert_eq!(round_even((1 << 62) - 1, 63), 0);
    }

    #[test]
    fn dither_is_unbiased() {
        for (value, shift) in [(12345i64, 10), (-12345, 10), (77, 20), (-(1 << 40) - 999_999, 25)] {
            let sum: i64 = (0..1 << 16).map(|dither| round_dither(value, shift, dither)).sum();
            let mean = sum as f64 / 65536.0;
            assert!((mean - value as f64 / (1i64 << shift) as f64).abs() < 2e-5, "{value} {shift} {mean}");
        }
    }

    #[test]
    fn scales_are_close_to_real_numbers() {
        let mut state = 1u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let a = Scale::new(state >> (state & 31), (state >> 40) as i32 % 40 - 20);
            let b = Scale::new((state >> 7) | 1, (state >> 33) as i32 % 40 - 20);
            let close = |got: Scale, want: f64| assert!((got.to_f64() / want - 1.0).abs() < 4e-9, "{got:?} {want}");
            close(a.multiply(b), a.to_f64() * b.to_f64());
            close(a.plus(b), a.to_f64() + b.to_f64());
            close(a.reciprocal(), 1.0 / a.to_f64());
            close(a.inverse_sqrt(), 1.0 / a.to_f64().sqrt());
            assert_eq!(Scale::from_f64(a.to_f64()), Some(a));
        }
    }

    #[test]
    fn saturation_is_reported() {
        assert_eq!(shift_to_i32(1 << 40, 9), (i32::MAX, true));
        assert_eq!(shift_to_i32(-(1 << 40), 10), (-(1 << 30), false));
        assert_eq!(shift_to_i32(3, -31), (i32::MAX, true));
        assert_eq!(shift_to_i32(1 << 61, -99), (i32::MAX, true));
        assert_eq!(shift_to_i32(-(1 << 61), -99), (-i32::MAX, true));
        assert_eq!(shift_to_i32(0, -80), (0, false));
    }
}
