//! Tests that the SIMD implementations of the two ternary matrix products, forward and backward, return exactly the
//! words that the reference kernels return, at every SIMD level that this processor supports.

use r3mes_wgpu::{
    compute::cpu::simd::{Level, implementation},
    kernels::{INFO, Kernel, ternary_matmul, ternary_matmul_backward},
    numbers::{
        fixed::Scale,
        rng::threefry,
        ternary::{Ternary, row_words},
    },
};
use std::ops::Range;

/// A source of random 32-bit words. The environment variable `SIMD_SEED` sets the seed; without it, the seed comes from
/// the clock.
struct Random {
    seed: u32,
    at: u32,
}

impl Random {
    fn fresh() -> Self {
        let given = std::env::var("SIMD_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        let seed = given.unwrap_or(clock);
        println!("SIMD_SEED={seed}");
        Self { seed, at: 0 }
    }

    fn next(&mut self) -> u32 {
        self.at += 1;
        threefry([self.seed, 0], [self.at, 0])[0]
    }
}

/// A test case for a ternary matrix product: the kernel, its parameters and its three input buffers.
struct Case {
    kernel: &'static Kernel,
    params: Vec<u32>,
    reads: [Vec<u32>; 3],
    words_per_token: usize,
}

/// The shape of a ternary matrix product. `planes` is 0 for the forward product. For the backward product, it is the
/// number of bytes that store each value of the gradient `dy`: 1 for 8-bit values, 2 for 16-bit values. (The high bytes
/// of a row are stored separately from the low bytes; each of these two parts is called a plane.)
#[derive(Clone, Copy, Debug)]
struct Size {
    planes: usize,
    tokens: usize,
    in_features: usize,
    out_features: usize,
    slots: usize,
}

impl Case {
    /// Creates a test case. `trit()` returns the next weight. `value(i)` returns the element at position `i` of an
    /// input row; it must fit in an i8, or be within ±2^14 if `size.planes` is 2.
    fn new(size: Size, mut trit: impl FnMut() -> i8, mut value: impl FnMut(usize) -> i32) -> Self {
        let Size { planes, tokens, in_features, out_features, slots } = size;
        let trits: Vec<i8> = (0..in_features * out_features).map(|_| trit()).collect();
        let weights = Ternary::pack(out_features, in_features, &trits, Scale::ONE).unwrap().words;
        let contracted = if planes == 0 { in_features } else { out_features };
        let stride = 4 * row_words(contracted);
        let (mut rows, mut infos) = (Vec::new(), Vec::new());
        for _ in 0..tokens {
            let mut bytes = vec![0u8; planes.max(1) * stride];
            let mut sum = 0;
            for at in 0..contracted {
                let value = value(at);
                sum += value;
                let low = value as u8;
                if planes == 2 {
                    bytes[at] = ((value - i32::from(low as i8)) >> 8) as u8;
                    bytes[stride + at] = low;
                } else {
                    bytes[at] = low;
                }
            }
            rows.extend(bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
            infos.extend([0xAAAA_AAAA, 7, sum as u32, 0xBBBB_BBBB]);
        }
        assert_eq!(infos.len(), tokens * INFO);
        let [tokens_word, in_features, out_features] = [tokens, in_features, out_features].map(|size| size as u32);
        let (kernel, params) = if planes == 0 {
            let params = ternary_matmul::Params { first_group: 0, tokens: tokens_word, in_features, out_features };
            (&ternary_matmul::KERNEL, params.words())
        } else {
            let params = ternary_matmul_backward::Params {
                first_group: 0,
                tokens: tokens_word,
                in_features,
                out_features,
                slot: slots as u32 / 2,
                slots: slots as u32,
                planes: planes as u32,
            };
            (&ternary_matmul_backward::KERNEL, params.words())
        };
        let words_per_token =
            if planes == 0 { out_features as usize + INFO } else { slots * (in_features as usize + INFO) };
        Self { kernel, params, reads: [rows, infos, weights.to_vec()], words_per_token }
    }

    /// Returns the output rows of the given tokens. They are computed at the SIMD level `level`, or by the reference
    /// kernel if `level` is `None`.
    fn run(&self, level: Option<Level>, tokens: Range<usize>) -> Vec<u32> {
        let kernel = level.map_or(self.kernel.reference, |level| implementation(level, self.kernel.name).unwrap());
        let mut out: Vec<u32> = (0..(tokens.len() * self.words_per_token) as u32).map(|at| !at).collect();
        let saturated = kernel(&self.params, tokens, &self.reads.each_ref().map(Vec::as_slice), &mut [&mut out]);
        assert!(!saturated);
        out
    }
}

const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 5, 3),
    (2, 32, 33),
    (3, 64, 17),
    (5, 31, 64),
    (7, 16, 16),
    (11, 100, 30),
    (13, 257, 48),
    (67, 131, 45),
    (600, 33, 40),
    (4, 4101, 9),
    (9, 19, 5003),
];

#[test]
fn random_products_equal_the_reference_kernels() {
    let mut random = Random::fresh();
    for (tokens, in_features, out_features) in SHAPES {
        for (planes, slots) in [(0, 1), (1, 1), (2, 1), (1, 2), (2, 3)] {
            let size = Size { planes, tokens, in_features, out_features, slots };
            let trits: Vec<i8> = (0..in_features * out_features).map(|_| (random.next() % 3) as i8 - 1).collect();
            let mut trits = trits.into_iter();
            let value = |_| match planes {
                2 => (random.next() % 32_769) as i32 - 16_384,
                _ => i32::from(random.next() as i8),
            };
            let case = Case::new(size, || trits.next().unwrap(), value);
            for units in [0..tokens, tokens / 3..tokens - tokens / 4] {
                let want = case.run(None, units.clone());
                for level in Level::available() {
                    assert_eq!(case.run(Some(level), units.clone()), want, "{level:?} {size:?} {units:?}");
                }
            }
        }
    }
}

/// Checks matrix products with the largest possible partial sums. If all inputs have the same value and all weights are
/// equal, each output must be `length · value · weight`, where `length` is the number of terms. Products with terms of
/// alternating signs are compared with the reference kernel. At the AVX2 level, terms are first added in i16, and each
/// i16 sum is then added to an i32 sum. In this test, an i16 sum reaches −32,768, the smallest i16.
#[test]
fn extreme_products_equal_the_formula() {
    for contracted in [4096, 4128, 2048, 260] {
        for planes in [0, 1, 2] {
            let (in_features, out_features) = if planes == 0 { (contracted, 37) } else { (37, contracted) };
            let size = Size { planes, tokens: 7, in_features, out_features, slots: 1 };
            // The low plane is −128 for 16,256 and 127 for 16,255; the high plane is ±64 or 63.
            let extremes: &[i32] =
                if planes == 2 { &[16_384, -16_384, 16_256, -16_512 + 256, 16_255, 0] } else { &[127, -127, -128, 0] };
            for trit in [-1i8, 0, 1] {
                for &value in extremes {
                    let case = Case::new(size, || trit, |_| value);
                    let product = (value * contracted as i32 * i32::from(trit)) as u32;
                    // the product does not write the row info
                    let word = |at: usize| if at % (37 + INFO) < 37 { product } else { !(at as u32) };
                    let want: Vec<u32> = (0..7 * (37 + INFO)).map(word).collect();
                    for level in Level::available() {
                        assert_eq!(case.run(Some(level), 0..7), want, "{level:?} {size:?} {trit} · {value}");
                    }
                }
            }
            let mut sign = 1;
            let case = Case::new(size, || 1, |at| if at % 2 == 0 { 127 } else { -128 });
            let flipped = Case::new(
                size,
                || {
                    sign = -sign;
                    sign
                },
                |_| 127,
            );
            for case in [case, flipped] {
                let want = case.run(None, 0..7);
                for level in Level::available() {
                    assert_eq!(case.run(Some(level), 0..7), want, "{level:?} {size:?} alternating");
                }
            }
        }
    }
}

#[test]
fn implementations_exist_only_for_available_levels() {
    let available = Level::available();
    assert_eq!(available.first(), Some(&Level::Scalar));
    assert_eq!(available.last(), Some(&Level::detect()));
    for level in [Level::Scalar, Level::Simd128, Level::Neon, Level::Avx2, Level::Avx512] {
        assert_eq!(implementation(level, "ternary_matmul").is_some(), available.contains(&level), "{level:?}");
        assert_eq!(implementation(level, "ternary_matmul_backward").is_some(), available.contains(&level), "{level:?}");
        assert!(implementation(level, "attention").is_none());
    }
    println!("levels run: {available:?}");
}
