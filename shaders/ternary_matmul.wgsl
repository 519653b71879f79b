// out[t, n] = Σ_k x[t, k] · w[n, k], on codes 0..=2: Σ x·code − Σ x.
// One invocation: 16 rows, 8 tokens, in registers; no barrier, so a software GPU runs it well too.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [tokens, in_features] byte rows
@group(0) @binding(2) var<storage, read> x_info: array<u32>; // [tokens, 4], word 2 is the row's sum
@group(0) @binding(3) var<storage, read> weights: array<u32>; // [out_features, in_features] block words
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, out_features + 4]

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let n = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 8u + local.y) * 8u;
    if n >= params.out_features || t >= params.tokens {
        return;
    }
    let words = row_words(params.in_features);
    // Beyond the last row or token the last one is read again, and dropped.
    let last = (row_words(params.out_features) - 1u) * words;
    let w0 = (n >> 2u) * words;
    let w1 = min(w0 + words, last);
    let w2 = min(w0 + 2u * words, last);
    let w3 = min(w0 + 3u * words, last);
    let step = words;
    let last_t = (params.tokens - 1u) * step;
    let x0 = t * step;
    let x1 = min(x0 + step, last_t);
    let x2 = min(x0 + 2u * step, last_t);
    let x3 = min(x0 + 3u * step, last_t);
    let x4 = min(x0 + 4u * step, last_t);
    let x5 = min(x0 + 5u * step, last_t);
    let x6 = min(x0 + 6u * step, last_t);
    let x7 = min(x0 + 7u * step, last_t);
    var s0 = BlockSums();
    var s1 = BlockSums();
    var s2 = BlockSums();
    var s3 = BlockSums();
    var s4 = BlockSums();
    var s5 = BlockSums();
    var s6 = BlockSums();
    var s7 = BlockSums();
    for (var k = 0u; k < words; k++) {
        let codes = blocks_codes(vec4<u32>(weights[w0 + k], weights[w1 + k], weights[w2 + k], weights[w3 + k]));
        add_dots(&s0, codes, x[x0 + k]);
        add_dots(&s1, codes, x[x1 + k]);
        add_dots(&s2, codes, x[x2 + k]);
        add_dots(&s3, codes, x[x3 + k]);
        add_dots(&s4, codes, x[x4 + k]);
        add_dots(&s5, codes, x[x5 + k]);
        add_dots(&s6, codes, x[x6 + k]);
        add_dots(&s7, codes, x[x7 + k]);
    }
    store(t, n, s0);
    store(t + 1u, n, s1);
    store(t + 2u, n, s2);
    store(t + 3u, n, s3);
    store(t + 4u, n, s4);
    store(t + 5u, n, s5);
    store(t + 6u, n, s6);
    store(t + 7u, n, s7);
}

// Writes one token's 16 sums; component c of part j is row n + 4c + j.
fn store(t: u32, n: u32, sums: BlockSums) {
    if t < params.tokens {
        let row = t * (params.out_features + 4u);
        let offset = bitcast<i32>(x_info[t * 4u + 2u]);
        store_part(row, n, sums.a - offset);
        store_part(row, n + 1u, sums.b - offset);
        store_part(row, n + 2u, sums.c - offset);
        store_part(row, n + 3u, sums.d - offset);
    }
}

fn store_part(row: u32, n: u32, part: vec4<i32>) {
    if n < params.out_features {
        out[row + n] = part.x;
    }
    if n + 4u < params.out_features {
        out[row + n + 4u] = part.y;
    }
    if n + 8u < params.out_features {
        out[row + n + 8u] = part.z;
    }
    if n + 12u < params.out_features {
        out[row + n + 12u] = part.w;
    }
}
