//! Tables of transcendental functions. They are computed by integer arithmetic only, so that every platform computes
//! the same words. Intermediate values are i128 with 60 fraction bits.

/// The number of fraction bits of intermediate values, which are i128.
const FRACTION: u32 = 60;
const ONE: i128 = 1 << FRACTION;
/// π · 2^60, rounded to nearest.
const PI: i128 = 3_622_009_729_038_561_421;
/// ln 2 · 2^60, rounded to nearest.
const LN_2: i128 = 799_144_290_325_165_979;

/// The number of entries in [`exp2_table`], and in [`log2_table`]. The arguments of neighboring entries differ by
/// 1/256, and those of the first and the last entry differ by 1.
pub const TABLE_LEN: usize = 257;

/// Returns `round(2^(30 − i/256))` for i = 0..=256. The softmax interpolates between these entries.
pub fn exp2_table() -> Vec<u32> {
    (0..TABLE_LEN as i128).map(|i| round(exp2(-i * (ONE >> 8)), 30) as u32).collect()
}

/// Returns `round(log2(1 + i/256) · 2^24)` for i = 0..=256. The loss interpolates between these entries.
pub fn log2_table() -> Vec<u32> {
    (0..TABLE_LEN as i128).map(|i| round(log2(ONE + i * (ONE >> 8)), 24) as u32).collect()
}

/// Returns the rotary table `[positions, head_dim / 2, 2]`, which contains the cosine and the sine of each angle, with
/// 30 fraction bits. For a position p and an index i of a pair of features, the angle is `p · theta^(−2i / head_dim)`
/// (Su et al., *RoFormer*, 2021). `theta` must be ≥ 1, and `head_dim` must be even.
pub fn rope_table(positions: usize, head_dim: usize, theta: u32) -> Vec<u32> {
    let log_theta = log2(i128::from(theta) << FRACTION);
    let frequencies: Vec<i128> =
        (0..head_dim / 2).map(|i| exp2(-(log_theta * 2 * i as i128) / head_dim as i128)).collect();
    let mut table = Vec::with_capacity(positions * head_dim);
    for position in 0..positions as i128 {
        for &frequency in &frequencies {
            let (cos, sin) = cos_sin((position * frequency) % (2 * PI));
            table.push(round(cos, 30) as i32 as u32);
            table.push(round(sin, 30) as i32 as u32);
        }
    }
    table
}

/// Returns a rotary table of one position in which all angles are 0. Applying it leaves values unchanged.
pub fn identity_rope(head_dim: usize) -> Vec<u32> {
    [1 << 30, 0].repeat(head_dim / 2)
}

fn multiply(a: i128, b: i128) -> i128 {
    (a * b) >> FRACTION
}

fn round(value: i128, bits: u32) -> i128 {
    (value + (1 << (FRACTION - bits - 1))) >> (FRACTION - bits)
}

/// Returns `2^x`. Both x and the result have 60 fraction bits. The integer part of x is applied by a shift, and the
/// fraction by the Taylor series of `e^(x ln 2)`.
fn exp2(x: i128) -> i128 {
    let whole = x >> FRACTION;
    let y = multiply(x & (ONE - 1), LN_2);
    let (mut term, mut sum) = (ONE, ONE);
    for n in 1..=24 {
        term = multiply(term, y) / n;
        sum += term;
    }
    if whole >= 0 { sum << whole } else { sum >> (-whole).min(127) }
}

/// Returns `log2(x)` for x ≥ 1. Both x and the result have 60 fraction bits. Each squaring of x yields one more bit of
/// the fraction.
fn log2(mut x: i128) -> i128 {
    let whole = (127 - x.leading_zeros() as i128) - i128::from(FRACTION);
    x >>= whole;
    let mut result = whole;
    for _ in 0..FRACTION {
        x = multiply(x, x);
        result <<= 1;
        if x >= 2 * ONE {
            x >>= 1;
            result |= 1;
        }
    }
    result
}

/// Returns the cosine and the sine of an angle in `[0, 2π)`. The angle and the results have 60 fraction bits. The
/// results are computed by Taylor series, after the angle has been reduced to `[0, π/4]`.
fn cos_sin(angle: i128) -> (i128, i128) {
    let half_pi = PI / 2;
    let quadrant = angle / half_pi;
    let rest = angle - quadrant * half_pi;
    let swap = rest > half_pi / 2;
    let x = if swap { half_pi - rest } else { rest };
    let (mut term, mut cos, mut sin) = (ONE, ONE, 0);
    for n in 1..=20 {
        term = multiply(term, x) / n;
        let signed = if n & 2 == 0 { term } else { -term };
        if n & 1 == 0 { cos += signed } else { sin += signed }
    }
    if swap {
        std::mem::swap(&mut cos, &mut sin);
    }
    match quadrant & 3 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn tables_are_the_published_bytes() {
        let digest = |table: Vec<u32>| -> String {
            data_encoding::HEXLOWER.encode(&Sha256::digest(bytemuck::cast_slice::<u32, u8>(&table)))
        };
        assert_eq!(digest(exp2_table()), "21c50821b132c0a124613b2ee76cac286c1cb8148ed63fb62a3763910318da50");
        assert_eq!(digest(log2_table()), "766105c0315acffc84fead018e0347fec4566acd4643a16947245291988e3005");
        assert_eq!(
            digest(rope_table(256, 32, 10_000)),
            "457e82a1b6e8845bd0ec8638ad58ff3c2d7b1452d54863ca52cdf935e3e23262"
        );
    }

    #[test]
    fn tables_are_close_to_libm() {
        for (i, &word) in exp2_table().iter().enumerate() {
            assert!((f64::from(word) - (30.0 - i as f64 / 256.0).exp2()).abs() <= 0.51);
        }
        for (i, &word) in log2_table().iter().enumerate() {
            assert!((f64::from(word) - (1.0 + i as f64 / 256.0).log2() * 16_777_216.0).abs() <= 0.51);
        }
        let (positions, head_dim, theta) = (500, 64, 500_000);
        let table = rope_table(positions, head_dim, theta);
        for position in 0..positions {
            for i in 0..head_dim / 2 {
                let angle = position as f64 * f64::from(theta).powf(-2.0 * i as f64 / head_dim as f64);
                for (lane, want) in [angle.cos(), angle.sin()].into_iter().enumerate() {
                    let got = f64::from(table[(position * head_dim / 2 + i) * 2 + lane] as i32) / f64::from(1 << 30);
                    assert!((got - want).abs() < 1e-9, "{position} {i} {lane}: {got} {want}");
                }
            }
        }
    }
}
