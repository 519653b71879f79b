// The logits of one shard of the vocabulary: z[t, v] = score(Σ_i n[t, i] · embedding[v, i]), where t is a token, v an
// entry of the vocabulary, and i a feature. `score` stands for the conversion of a sum into a base-2 logit in Q20, with
// the scales of both rows. A row of n has at most 2^16 features, so the sum over one of its two int8 planes is ≤ 2^30
// in magnitude. One invocation computes one entry of the vocabulary for four tokens.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    vocab: u32,
    score_scale: u32,
    score_scale_exponent: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> n: array<vec4<u32>>; // [tokens, width] wide rows
@group(0) @binding(2) var<storage, read> n_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(3) var<storage, read> embedding: array<vec4<u32>>; // [vocab, width] byte rows
@group(0) @binding(4) var<storage, read> row_scales: array<u32>; // [vocab] u16, in units of 2^-16
@group(0) @binding(5) var<storage, read_write> z: array<i32>; // [tokens, vocab] Q20
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

// Writes the score of token t for entry v, from the sums over the high and the low int8 plane of n. Skips a token past
// the last one.
fn put(t: u32, v: u32, high: i32, low: i32) {
    if t >= params.tokens {
        return;
    }
    let info = Scale(n_info[t << 2u], bitcast<i32>(n_info[(t << 2u) + 1u]));
    let scale = scale_multiply(info, Scale(params.score_scale, params.score_scale_exponent));
    let mantissa = round_even_64(vec2(scale.mantissa, 0u), 7u).x;
    let product = round_even_64(multiply_64(join_planes(0i, high, low), row_scales[v]), 16u);
    let value = score(multiply_64(product, mantissa), -(scale.exponent + 7i));
    z[t * params.vocab + v] = value.value;
    if value.saturated {
        atomicMax(&flag, 1u);
    }
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let v = (group.x << 6u) + local.x;
    if v >= params.vocab {
        return;
    }
    let vectors = row_words(params.width) >> 2u;
    let t = (group.y + params.first_group) << 2u;
    // Instead of a token past the end, the last token is read; `put` drops the extra results.
    let last = params.tokens - 1u;
    let rows = min(vec4(t, t + 1u, t + 2u, t + 3u), vec4(last)) * (vectors << 1u);
    var high = vec4(0i);
    var low = vec4(0i);
    for (var k = 0u; k < vectors; k++) {
        let e = embedding[v * vectors + k];
        let at = rows + k;
        high += vec4(dot_bytes(e, n[at.x]), dot_bytes(e, n[at.y]), dot_bytes(e, n[at.z]), dot_bytes(e, n[at.w]));
        let below = at + vectors;
        low += vec4(
            dot_bytes(e, n[below.x]),
            dot_bytes(e, n[below.y]),
            dot_bytes(e, n[below.z]),
            dot_bytes(e, n[below.w]),
        );
    }
    put(t, v, high.x, low.x);
    put(t + 1u, v, high.y, low.y);
    put(t + 2u, v, high.z, low.z);
    put(t + 3u, v, high.w, low.w);
}
