//! The kernel calls that the benchmarks time. They are matrix products of one shape with random operands: the ternary
//! products, and the f32 product with which the ternary products are compared. The benchmark page `www/bench.html`,
//! which runs in a browser, times the same products.

use r3mes_wgpu::{
    kernels::{
        Access, Binding, INFO, Kernel, as_bytes_mut,
        cases::{Case, CaseSource},
        lowering, ternary_matmul, ternary_matmul_backward,
    },
    numbers::{
        fixed::Scale,
        ternary::{Ternary, row_words},
    },
};

/// The kernel of the f32 product. Its operands are small integers, so every sum is exact in f32 and does not depend on
/// the order of summation.
static GEMM_F32: Kernel = Kernel {
    name: "gemm_f32",
    params: &["first_group", "tokens", "in_features", "out_features"],
    bindings: &[
        Binding { name: "x", access: Access::Read },
        Binding { name: "weights", access: Access::Read },
        Binding { name: "out", access: Access::Write(|params| params[3] as usize) },
    ],
    units: |params| params[1] as usize,
    reference: |params, units, reads, writes| {
        let (columns, rows) = (params[2] as usize, params[3] as usize);
        let row = |matrix: usize, at: usize| &reads[matrix][at * columns..][..columns];
        for (t, out) in units.zip(writes[0].chunks_exact_mut(rows)) {
            for (n, out) in out.iter_mut().enumerate() {
                let products = row(0, t).iter().zip(row(1, n)).map(|(x, w)| f32::from_bits(*x) * f32::from_bits(*w));
                *out = products.sum::<f32>().to_bits();
            }
        }
        false
    },
    lowerings: &[lowering("plain", &[include_str!("../gemm_f32.wgsl")], |params| params[3] / 64, 64)],
};

/// The shape of a product: a `tokens` × `features` matrix times a square `features` × `features` matrix.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// The number of tokens, a multiple of 64. The left matrix of the product has one row for each token.
    pub(crate) tokens: usize,
    /// The side of the square right matrix of the product, and the row length of the left one: a multiple of 64.
    pub(crate) features: usize,
}

impl Shape {
    /// Returns the kernel calls to time, with their labels: the f32 product, the forward ternary product, and the
    /// backward ternary product with int8 and with int16 rows. The random operands follow from `seed`.
    pub(crate) fn cases(self, seed: u64) -> [(&'static str, Case); 4] {
        let source = &mut CaseSource::new(seed);
        [
            ("f32 product", self.gemm(source)),
            ("forward, int8 x", self.forward(source)),
            ("backward, int8 dy", self.backward(source, 1)),
            ("backward, int16 dy", self.backward(source, 2)),
        ]
    }

    fn gemm(self, source: &mut CaseSource) -> Case {
        let Self { tokens, features } = self;
        let mut values = |rows: usize, high: i32| {
            (0..rows * features).map(|_| (source.within(-high, high) as f32).to_bits()).collect()
        };
        let inputs = vec![values(tokens, 127), values(features, 1), vec![0; tokens * features]];
        let params = vec![0, tokens as u32, features as u32, features as u32];
        Case { kernel: &GEMM_F32, label: "f32".to_owned(), params, inputs }
    }

    fn forward(self, source: &mut CaseSource) -> Case {
        let params = ternary_matmul::Params {
            tokens: self.tokens as u32,
            in_features: self.features as u32,
            out_features: self.features as u32,
            ..Default::default()
        };
        Case {
            kernel: &ternary_matmul::KERNEL,
            label: "forward".to_owned(),
            params: params.words(),
            inputs: self.inputs(source, 1),
        }
    }

    fn backward(self, source: &mut CaseSource, planes: u32) -> Case {
        let params = ternary_matmul_backward::Params {
            tokens: self.tokens as u32,
            in_features: self.features as u32,
            out_features: self.features as u32,
            slots: 1,
            planes,
            ..Default::default()
        };
        Case {
            kernel: &ternary_matmul_backward::KERNEL,
            label: "backward".to_owned(),
            params: params.words(),
            inputs: self.inputs(source, planes as usize),
        }
    }

    /// Returns the contents of the four buffers of a ternary product: the rows of the left matrix; their row infos (the
    /// scale and the sum of each row), in which only the sum is set; the packed ternary matrix; and zeros for the
    /// result. If `planes` is 1, the rows are int8. If `planes` is 2, the rows are int16 within ±2^14, split into two
    /// int8 planes: each value is `256 · plane 0 + plane 1`.
    fn inputs(self, source: &mut CaseSource, planes: usize) -> Vec<Vec<u32>> {
        let Self { tokens, features } = self;
        let stride = 4 * row_words(features);
        let mut rows = vec![0; tokens * planes * stride / 4];
        let mut info = vec![0; tokens * INFO];
        for (token, row) in as_bytes_mut(&mut rows).chunks_exact_mut(planes * stride).enumerate() {
            for column in 0..features {
                let value = if planes == 1 { source.within(-127, 127) } else { source.within(-(1 << 14), 1 << 14) };
                info[token * INFO + 2] = (info[token * INFO + 2] as i32 + value) as u32;
                row[column] = if planes == 1 { value as i8 } else { ((value + 128) >> 8) as i8 };
                if planes == 2 {
                    row[stride + column] = value as i8;
                }
            }
        }
        let trits: Vec<i8> = (0..features * features).map(|_| source.within(-1, 1) as i8).collect();
        let weights = Ternary::pack(features, features, &trits, Scale::ONE).expect("trits, as many as the shape has");
        vec![rows, info, weights.words.to_vec(), vec![0; tokens * (features + INFO)]]
    }
}
