// out[t, n] = Σ_k x[t, k] · w[n, k], two rows to a product: x · (code + 2^16 · code′).
// One invocation: 16 rows, 8 tokens, in registers, 16 k at a time: a token meets all codes while its pairs are
// in registers. Pairs are split into i32 sums every 128 k.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>; // [tokens, in_features] byte rows
@group(0) @binding(2) var<storage, read> x_info: array<u32>; // [tokens, 4], word 2 is the row's sum
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>; // [out_features, in_features] block words
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, out_features + 4]

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let n = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 8u + local.y) * 8u;
    if n >= params.out_features || t >= params.tokens {
        return;
    }
    let quads = row_words(params.in_features) >> 2u; // of words
    // Beyond the last row or token the last one is read again, and dropped.
    let last = (row_words(params.out_features) - 1u) * quads;
    let w0 = (n >> 2u) * quads;
    let w1 = min(w0 + quads, last);
    let w2 = min(w0 + 2u * quads, last);
    let w3 = min(w0 + 3u * quads, last);
    let step = quads;
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
    for (var start = 0u; start < quads; start += 8u) {
        var p0 = Pairs();
        var p1 = Pairs();
        var p2 = Pairs();
        var p3 = Pairs();
        var p4 = Pairs();
        var p5 = Pairs();
        var p6 = Pairs();
        var p7 = Pairs();
        let end = min(start + 8u, quads);
        for (var k = start; k < end; k++) {
            let b0 = weights[w0 + k];
            let b1 = weights[w1 + k];
            let b2 = weights[w2 + k];
            let b3 = weights[w3 + k];
            let c0 = pair_codes(transpose_blocks(vec4<u32>(b0.x, b1.x, b2.x, b3.x)));
            let c1 = pair_codes(transpose_blocks(vec4<u32>(b0.y, b1.y, b2.y, b3.y)));
            let c2 = pair_codes(transpose_blocks(vec4<u32>(b0.z, b1.z, b2.z, b3.z)));
            let c3 = pair_codes(transpose_blocks(vec4<u32>(b0.w, b1.w, b2.w, b3.w)));
            add_pairs(&p0, c0, c1, c2, c3, x[x0 + k]);
            add_pairs(&p1, c0, c1, c2, c3, x[x1 + k]);
            add_pairs(&p2, c0, c1, c2, c3, x[x2 + k]);
            add_pairs(&p3, c0, c1, c2, c3, x[x3 + k]);
            add_pairs(&p4, c0, c1, c2, c3, x[x4 + k]);
            add_pairs(&p5, c0, c1, c2, c3, x[x5 + k]);
            add_pairs(&p6, c0, c1, c2, c3, x[x6 + k]);
            add_pairs(&p7, c0, c1, c2, c3, x[x7 + k]);
        }
        split_pairs(&s0, p0);
        split_pairs(&s1, p1);
        split_pairs(&s2, p2);
        split_pairs(&s3, p3);
        split_pairs(&s4, p4);
        split_pairs(&s5, p5);
        split_pairs(&s6, p6);
        split_pairs(&s7, p7);
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
