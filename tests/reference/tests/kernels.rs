//! Tests the reference kernels, which compute in integers, against the corresponding functions in f64: for the same
//! operands, the results must agree within a tolerance.

use super::cases::Random;
use r3mes_reference::{
    attention::{self, Heads},
    feed_forward::{gated_relu_squared_backward, gated_relu_squared_forward},
    head,
    norm::{rms_norm_backward, rms_norm_forward},
};
use r3mes_wgpu::{
    kernels::{self, Access, INFO, Kernel},
    numbers::{fixed::Scale, tables},
};

const TOKENS: usize = 40;
const WIDTH: usize = 36;
const HEADS: Heads = Heads { heads: 6, kv_heads: 2, head_dim: 6 };
/// The number of 32-bit words that store one attention head with six features: the high bytes of the features, padded
/// to eight words; the low bytes, also padded to eight words; an exponent; and three zeros.
const HEAD_WORDS: usize = 2 * 8 + INFO;

/// An input of a kernel: the 32-bit words that the kernel reads, and the real values that they represent.
struct Operand {
    words: Vec<u32>,
    real: Vec<f64>,
}

/// Runs a reference kernel and returns its output buffers. Before the run, output buffer i contains the words
/// `before[i]`, or zeros if `before` has no entry i.
fn run(kernel: &Kernel, params: &[u32], reads: &[&[u32]], before: &[&[u32]]) -> Vec<Vec<u32>> {
    let units = (kernel.units)(params);
    let owned = kernel.bindings.iter().filter_map(|binding| match binding.access {
        Access::Write(words) => Some(vec![0; units * words(params)]),
        _ => None,
    });
    let mut writes: Vec<Vec<u32>> = owned.collect();
    for (write, before) in writes.iter_mut().zip(before) {
        write.copy_from_slice(before);
    }
    let mut parts: Vec<&mut [u32]> = writes.iter_mut().map(Vec::as_mut_slice).collect();
    assert!(!(kernel.reference)(params, 0..units, reads, &mut parts), "{} saturated", kernel.name);
    writes
}

fn scale_value(scale: &[u32]) -> f64 {
    f64::from(scale[0]) * 2f64.powi(scale[1] as i32)
}

/// Returns rows of random integers within ±2^`bits`. Each row has its own random scale, which is between 2^-`bits` and
/// 2^(5 − `bits`).
fn i32_rows(random: &mut Random, rows: usize, width: usize, bits: u32) -> Operand {
    let mut words = Vec::new();
    for _ in 0..rows {
        let reach = 2f64.powi(bits as i32);
        words.extend((0..width).map(|_| random.within(-reach, reach).round() as i32 as u32));
        let mantissa = random.within(2f64.powi(30), 2f64.powi(31)) as u32;
        let exponent = -30 - bits as i32 + (random.word() % 5) as i32;
        words.extend([mantissa, exponent as u32, 0, 0]);
    }
    let real = from_i32_rows(&words, width);
    Operand { words, real }
}

fn from_i32_rows(words: &[u32], width: usize) -> Vec<f64> {
    let rows = words.chunks_exact(width + INFO);
    let row = |row: &[u32]| -> Vec<f64> {
        row[..width].iter().map(|&x| f64::from(x as i32) * scale_value(&row[width..])).collect()
    };
    rows.flat_map(row).collect()
}

/// Decodes a row of `width` integers, each of which is `256 · high + low`. The parts `high` and `low` are signed bytes.
/// The first half of `words` contains the high parts, and the second half contains the low parts. Each half may end
/// with padding.
fn from_planes(words: &[u32], width: usize) -> Vec<f64> {
    let bytes: Vec<f64> = words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| f64::from(byte as i8)).collect();
    (0..width).map(|i| 256.0 * bytes[i] + bytes[bytes.len() / 2 + i]).collect()
}

fn from_wide_rows(words: &[u32], infos: &[u32], width: usize) -> Vec<f64> {
    let rows = words.chunks_exact(2 * width.div_ceil(32) * 8).zip(infos.chunks_exact(INFO));
    rows.flat_map(|(row, info)| from_planes(row, width).into_iter().map(|x| x * scale_value(info))).collect()
}

fn from_head_rows(words: &[u32]) -> Vec<f64> {
    let (planes, at) = (HEAD_WORDS - INFO, HEADS.head_dim);
    let row =
        |row: &[u32]| from_planes(&row[..planes], at).into_iter().map(|x| x * 2f64.powi(row[planes] as i32)).collect();
    words.chunks_exact(HEAD_WORDS).flat_map::<Vec<f64>, _>(row).collect()
}

/// Checks each row of `width` values: every value in `got` must differ from the corresponding value in `want` by
/// less than `tolerance` times the largest magnitude in that row of `want`. `what` identifies the values in messages.
fn close(what: &str, got: &[f64], want: &[f64], width: usize, tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let mut worst = 0f64;
    for (got, want) in got.chunks_exact(width).zip(want.chunks_exact(width)) {
        let max = want.iter().fold(1e-300, |max: f64, x| max.max(x.abs()));
        let error = got.iter().zip(want).fold(0f64, |error, (got, want)| error.max((got - want).abs()));
        worst = worst.max(error / max);
    }
    println!("{what}: {worst:.2e}");
    assert!(worst < tolerance, "{what}: the error is {worst:.2e} of a row's largest magnitude");
}

fn gains(random: &mut Random, exponent: i32) -> Operand {
    let words: Vec<u32> = (0..WIDTH).map(|_| random.within(-65_535.0, 65_535.0) as i32 as u32).collect();
    let real = words.iter().map(|&gain| f64::from(gain as i32) * 2f64.powi(exponent)).collect();
    Operand { words, real }
}

/// Returns the parameters of the kernels `rms_norm_wide` and `rms_norm_quantize` for gains in units of
/// 2^`gain_exponent`, and for the epsilon 2^`epsilon_exponent`.
fn norm_params(gain_exponent: i32, epsilon_exponent: i32) -> kernels::rms_norm_wide::Params {
    let (inverse_width, epsilon) = (Scale::new(WIDTH as u64, 0).reciprocal(), Scale::power_of_two(epsilon_exponent));
    kernels::rms_norm_wide::Params {
        tokens: TOKENS as u32,
        width: WIDTH as u32,
        gain_exponent,
        inverse_width: inverse_width.mantissa,
        inverse_width_exponent: inverse_width.exponent,
        epsilon: epsilon.mantissa,
        epsilon_exponent: epsilon.exponent,
        ..Default::default()
    }
}

/// Checks that the results of the RMSNorm kernels, forward and backward, are close to the results in f64. The inputs
/// are rows of integers within ±2^30 in one test case, and within smaller ranges, down to ±2, in the others.
#[test]
fn norms() {
    let mut random = Random(1);
    let inverse_width = Scale::new(WIDTH as u64, 0).reciprocal();
    for bits in [30, 20, 10, 4, 1] {
        let (x, gain) = (i32_rows(&mut random, TOKENS, WIDTH, bits), gains(&mut random, -15));
        let want = rms_norm_forward(&x.real, &gain.real, 2f64.powi(-7));
        let params = norm_params(-15, -7);
        let reads: [&[u32]; 2] = [&x.words, &gain.words];
        let wide = run(&kernels::rms_norm_wide::KERNEL, &params.words(), &reads, &[]);
        close("rms_norm_wide", &from_wide_rows(&wide[0], &wide[1], WIDTH), &want, WIDTH, 1.3e-4);
        let bytes = run(&kernels::rms_norm_quantize::KERNEL, &params.words(), &reads, &[]);
        let rows = bytes[0].chunks_exact(WIDTH.div_ceil(32) * 8).zip(bytes[1].chunks_exact(INFO));
        let row = |(row, info): (&[u32], &[u32])| -> Vec<f64> {
            let bytes = row.iter().flat_map(|word| word.to_le_bytes()).take(WIDTH);
            bytes.map(|byte| f64::from(byte as i8) * scale_value(info)).collect()
        };
        let got: Vec<f64> = rows.flat_map(row).collect();
        close("rms_norm_quantize", &got, &want, WIDTH, 0.5001 / 127.0);

        let dn = i32_rows(&mut random, 3 * TOKENS, WIDTH, 29);
        let residual = i32_rows(&mut random, TOKENS, WIDTH, 30);
        let sum: Vec<f64> = dn
            .real
            .chunks_exact(3 * WIDTH)
            .flat_map(|dn| (0..WIDTH).map(|i| dn[i] + dn[WIDTH + i] + dn[2 * WIDTH + i]))
            .collect();
        let mut want = rms_norm_backward(&sum, &x.real, &gain.real, 2f64.powi(-7));
        want.iter_mut().zip(&residual.real).for_each(|(want, residual)| *want += residual);
        let params = kernels::rms_norm_backward::Params {
            tokens: TOKENS as u32,
            width: WIDTH as u32,
            slots: 3,
            residual_stride: 1,
            gain_exponent: -15,
            inverse_width: inverse_width.mantissa,
            inverse_width_exponent: inverse_width.exponent,
            ..Default::default()
        };
        let reads: [&[u32]; 5] = [&dn.words, &x.words, &gain.words, &wide[2], &residual.words];
        let dx = run(&kernels::rms_norm_backward::KERNEL, &params.words(), &reads, &[]);
        close(&format!("rms_norm_backward, x of {bits} bits"), &from_i32_rows(&dx[0], WIDTH), &want, WIDTH, 3e-5);
    }
}

#[test]
fn feed_forward() {
    let mut random = Random(2);
    let [gate, up, dout] = [30, 28, 30].map(|bits| i32_rows(&mut random, TOKENS, WIDTH, bits));
    let params =
        kernels::gated_relu_squared::Params { tokens: TOKENS as u32, width: WIDTH as u32, ..Default::default() };
    let out = run(&kernels::gated_relu_squared::KERNEL, &params.words(), &[&gate.words, &up.words], &[]);
    let want = gated_relu_squared_forward(&gate.real, &up.real);
    close("gated_relu_squared", &from_i32_rows(&out[0], WIDTH), &want, WIDTH, 4e-4);

    let params = kernels::gated_relu_squared_backward::Params {
        tokens: TOKENS as u32,
        width: WIDTH as u32,
        up_stream: 1,
        ..Default::default()
    };
    let dither = [5, 0, 1, 2, 3, 4];
    let reads: [&[u32]; 4] = [&dout.words, &gate.words, &up.words, &dither];
    let got = run(&kernels::gated_relu_squared_backward::KERNEL, &params.words(), &reads, &[]);
    let [dgate, dup] = gated_relu_squared_backward(&dout.real, &gate.real, &up.real);
    close("dgate", &from_wide_rows(&got[0], &got[1], WIDTH), &dgate, WIDTH, 4e-4);
    close("dup", &from_wide_rows(&got[2], &got[3], WIDTH), &dup, WIDTH, 4e-4);
}

/// Checks that the results of the kernels `rope` and `rope_backward` are close to the results in f64, for random rows
/// of `heads` attention heads. Returns the output of `rope`.
fn rotate(random: &mut Random, heads: usize, positions: &[u32]) -> Operand {
    let (width, head_dim) = (heads * HEADS.head_dim, HEADS.head_dim);
    let table = tables::rope_table(TOKENS, head_dim, 10_000);
    let y = i32_rows(random, TOKENS, width, 30);
    let params = kernels::rope::Params {
        tokens: TOKENS as u32,
        heads: heads as u32,
        head_dim: head_dim as u32,
        position_stride: 1,
        ..Default::default()
    };
    let got = run(&kernels::rope::KERNEL, &params.words(), &[&y.words, positions, &table], &[]);
    let mut want = y.real;
    attention::rope(&mut want, heads, head_dim, 10_000.0, 1.0);
    close("rope", &from_head_rows(&got[0]), &want, head_dim, 1.3e-4);

    let d = i32_rows(random, TOKENS * heads, head_dim, 29);
    let mut want = d.real;
    attention::rope(&mut want, heads, head_dim, 10_000.0, -1.0);
    let params = kernels::rope_backward::Params {
        tokens: TOKENS as u32,
        heads: heads as u32,
        head_dim: head_dim as u32,
        position_stride: 1,
        head_stride: heads as u32,
        ..Default::default()
    };
    let dy = run(&kernels::rope_backward::KERNEL, &params.words(), &[&d.words, positions, &table, &[0, 0, 1, 2]], &[]);
    close("rope_backward", &from_wide_rows(&dy[0], &dy[1], width), &want, width, 1.3e-4);
    Operand { real: from_head_rows(&got[0]), words: got.into_iter().next().unwrap() }
}

/// Checks that the results of the attention kernels, forward and backward, are close to the results in f64, for a
/// sequence of 40 tokens. Its keys form a whole block of 32 and a partial block of 8.
#[test]
fn attention_by_head_rows() {
    let mut random = Random(3);
    let Heads { heads, kv_heads, head_dim } = HEADS;
    let positions: Vec<u32> = (0..TOKENS as u32).collect();
    let tables = [tables::exp2_table(), tables::log2_table()].concat();
    let [q, k, v, dout] = [heads, kv_heads, kv_heads, heads].map(|heads| rotate(&mut random, heads, &positions));
    let root = Scale::new(head_dim as u64, 0).inverse_sqrt();
    let score = Scale::from_f64(std::f64::consts::LOG2_E).unwrap().multiply(root).shift(20);
    let (score_mantissa, score_shift) = ((score.mantissa + 64) >> 7, -(score.exponent + 7));
    let params = kernels::attention::Params {
        tokens: TOKENS as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        group_inverse: (1 << 16) / 3 + 1,
        score_mantissa,
        score_shift,
        ..Default::default()
    };
    let reads: [&[u32]; 5] = [&q.words, &k.words, &v.words, &positions, &tables];
    let out = run(&kernels::attention::KERNEL, &params.words(), &reads, &[]);
    let want = attention::attention_forward(&q.real, &k.real, &v.real, HEADS);
    close("attention", &from_i32_rows(&out[0], heads * head_dim), &want, heads * head_dim, 3e-4);

    let [dq, dk, dv] = attention::attention_backward(&dout.real, &q.real, &k.real, &v.real, HEADS);
    let params = kernels::attention_backward_query::Params {
        tokens: TOKENS as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        group_inverse: (1 << 16) / 3 + 1,
        score_mantissa,
        score_shift,
        inverse_root: root.mantissa,
        inverse_root_exponent: root.exponent,
        ..Default::default()
    };
    let dither = [0, 0, 1, 2, 3, 4];
    let reads: [&[u32]; 6] = [&q.words, &k.words, &v.words, &dout.words, &tables, &dither];
    let empty = vec![0; TOKENS * heads * (head_dim + INFO)];
    let by_query = run(&kernels::attention_backward_query::KERNEL, &params.words(), &reads, &[&out[1], &empty]);
    // the dq of the first token is zero, so all errors are compared with the largest magnitude of any token
    close("dq", &from_i32_rows(&by_query[1], head_dim), &dq, dq.len(), 3e-4);

    let params = kernels::attention_backward_key::Params {
        tokens: TOKENS as u32,
        context: TOKENS as u32,
        heads: heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        group: 3,
        score_mantissa,
        score_shift,
        inverse_root: root.mantissa,
        inverse_root_exponent: root.exponent,
        value_stream: 1,
        ..Default::default()
    };
    let reads: [&[u32]; 7] = [&q.words, &k.words, &v.words, &dout.words, &by_query[0], &tables, &dither];
    let by_key = run(&kernels::attention_backward_key::KERNEL, &params.words(), &reads, &[]);
    let rows = from_i32_rows(&by_key[0], head_dim);
    let [keys, values] = [0, 1].map(|half| -> Vec<f64> {
        let tokens = rows.chunks_exact(2 * kv_heads * head_dim);
        tokens.flat_map(|row| row.chunks_exact(kv_heads * head_dim).nth(half).unwrap()).copied().collect()
    });
    close("dk", &keys, &dk, dk.len(), 3e-4);
    close("dv", &values, &dv, dv.len(), 3e-4);
}

/// Checks that the loss and the gradient that the kernels of the output head compute are close to the results in f64.
/// The head uses the embedding as its weights, the vocabulary is divided into two shards, and every fifth token has no
/// label.
#[test]
fn head_and_cross_entropy() {
    const SHARDS: [(usize, usize); 2] = [(0, 40), (40, 30)];
    const EXPONENT: i32 = -5;
    let mut random = Random(4);
    let x = i32_rows(&mut random, TOKENS, WIDTH, 20);
    let gain = gains(&mut random, -14);
    let n = run(&kernels::rms_norm_wide::KERNEL, &norm_params(-14, -20).words(), &[&x.words, &gain.words], &[]);
    let n_real = from_wide_rows(&n[0], &n[1], WIDTH);

    let vocab: usize = SHARDS.iter().map(|(_, vocab)| vocab).sum();
    let row_scales: Vec<u32> = (0..vocab).map(|_| random.within(20_000.0, 65_535.0) as u32).collect();
    let bytes: Vec<i8> = (0..vocab * WIDTH).map(|_| random.within(-127.0, 127.0) as i8).collect();
    let embedding: Vec<f64> = (bytes.iter().enumerate())
        .map(|(i, &byte)| f64::from(byte) * f64::from(row_scales[i / WIDTH]) * 2f64.powi(EXPONENT - 16))
        .collect();
    let labels: Vec<Option<u32>> =
        (0..TOKENS).map(|t| (t % 5 != 4).then(|| random.word() as u32 % vocab as u32)).collect();
    let (loss, dlogits) = head::head_forward(&n_real, &embedding, &labels, WIDTH);
    let dn = head::head_backward(&dlogits, &embedding, WIDTH);

    let tables = [tables::exp2_table(), tables::log2_table()].concat();
    let label_words: Vec<u32> = labels.iter().map(|label| label.unwrap_or(kernels::cross_entropy::IGNORE)).collect();
    let packed = |(first, vocab): (usize, usize)| -> Vec<u32> {
        let rows = bytes[first * WIDTH..][..vocab * WIDTH].chunks_exact(WIDTH);
        let row = |row: &[i8]| -> Vec<u32> {
            let mut words = vec![0u32; WIDTH.div_ceil(32) * 8];
            row.iter().enumerate().for_each(|(i, &byte)| words[i / 4] |= u32::from(byte as u8) << (8 * (i % 4)));
            words
        };
        rows.flat_map(row).collect()
    };
    let score = Scale::from_f64(std::f64::consts::LOG2_E).unwrap().shift(20 + EXPONENT);
    let (mut maximum, mut sum, mut logits) = (vec![0; TOKENS], vec![0; 2 * TOKENS], Vec::new());
    for (shard, (first, vocab)) in SHARDS.into_iter().enumerate() {
        let params = kernels::head_logits::Params {
            tokens: TOKENS as u32,
            width: WIDTH as u32,
            vocab: vocab as u32,
            score_scale: score.mantissa,
            score_scale_exponent: score.exponent,
            ..Default::default()
        };
        let (embedding, row_scales) = (packed((first, vocab)), &row_scales[first..][..vocab]);
        let z = run(&kernels::head_logits::KERNEL, &params.words(), &[&n[0], &n[1], &embedding, row_scales], &[]);
        let (vocab, shard) = (vocab as u32, shard as u32);
        let params = kernels::logits_max::Params { tokens: TOKENS as u32, vocab, shard, ..Default::default() }.words();
        maximum = run(&kernels::logits_max::KERNEL, &params, &[&z[0]], &[&maximum]).remove(0);
        logits.extend(z);
    }
    for ((shard, (_, vocab)), z) in SHARDS.into_iter().enumerate().zip(&logits) {
        let (vocab, shard) = (vocab as u32, shard as u32);
        let params = kernels::logits_sum::Params { tokens: TOKENS as u32, vocab, shard, ..Default::default() }.words();
        sum = run(&kernels::logits_sum::KERNEL, &params, &[z, &maximum, &tables], &[&sum]).remove(0);
    }
    let (mut total, mut found) = (vec![0, 0], vec![0; TOKENS * (WIDTH + INFO)]);
    for ((shard, (first, vocab)), z) in SHARDS.into_iter().enumerate().zip(&logits) {
        let params = kernels::cross_entropy::Params {
            tokens: TOKENS as u32,
            vocab: vocab as u32,
            vocab_offset: first as u32,
            ..Default::default()
        };
        let row_scales = &row_scales[first..][..vocab];
        let reads: [&[u32]; 7] = [z, &maximum, &sum, &label_words, row_scales, &tables, &[0, 0, 1, 2]];
        let out = run(&kernels::cross_entropy::KERNEL, &params.words(), &reads, &[]);
        let params = kernels::loss_sum::Params { tokens: TOKENS as u32, vocab: vocab as u32, ..Default::default() };
        total = run(&kernels::loss_sum::KERNEL, &params.words(), &[&out[0]], &[&total]).remove(0);
        let params = kernels::head_backward::Params {
            tokens: TOKENS as u32,
            width: WIDTH as u32,
            vocab: vocab as u32,
            shard: shard as u32,
            exponent: EXPONENT - 22,
            ..Default::default()
        };
        let reads: [&[u32]; 2] = [&out[0], &packed((first, vocab))];
        found = run(&kernels::head_backward::KERNEL, &params.words(), &reads, &[&found]).remove(0);
    }
    let bits = (u64::from(total[0]) | u64::from(total[1]) << 32) as i64 as f64 / f64::from(1 << 20);
    close("loss", &[bits * std::f64::consts::LN_2], &[loss], 1, 1e-5);
    close("dn", &from_i32_rows(&found, WIDTH), &dn, dn.len(), 1e-5);
}
