// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], two columns to a product: dy · (code + 2^16 · code′).
// One invocation: 16 columns, 8 tokens, in registers, 16 n at a time: a token meets all codes while its pairs are
// in registers. Pairs are split into i32 sums every 128 n.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
    slot: u32,
    slots: u32,
    planes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<u32>>; // [tokens, planes, out_features] byte rows
@group(0) @binding(2) var<storage, read> dy_info: array<u32>; // [tokens, 4], word 2 is the row's sum
@group(0) @binding(3) var<storage, read> weights: array<vec4<u32>>; // [out_features, in_features] block words
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, slots, in_features + 4]

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let k = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 8u + local.y) * 8u;
    if k >= params.in_features || t >= params.tokens {
        return;
    }
    let quads = row_words(params.out_features) >> 2u; // of words
    let stride = row_words(params.in_features) >> 2u;
    let w0 = k >> 4u;
    // Beyond the last token the last one is read again, and dropped.
    let step = params.planes * quads;
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
    for (var plane = 0u; plane < params.planes; plane++) {
        next_plane(&s0);
        next_plane(&s1);
        next_plane(&s2);
        next_plane(&s3);
        next_plane(&s4);
        next_plane(&s5);
        next_plane(&s6);
        next_plane(&s7);
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
            for (var n = start; n < end; n++) {
                let w = w0 + n * 4u * stride;
                let c0 = pair_codes(weights[w]);
                let c1 = pair_codes(weights[w + stride]);
                let c2 = pair_codes(weights[w + 2u * stride]);
                let c3 = pair_codes(weights[w + 3u * stride]);
                let i = plane * quads + n;
                add_pairs(&p0, c0, c1, c2, c3, dy[x0 + i]);
                add_pairs(&p1, c0, c1, c2, c3, dy[x1 + i]);
                add_pairs(&p2, c0, c1, c2, c3, dy[x2 + i]);
                add_pairs(&p3, c0, c1, c2, c3, dy[x3 + i]);
                add_pairs(&p4, c0, c1, c2, c3, dy[x4 + i]);
                add_pairs(&p5, c0, c1, c2, c3, dy[x5 + i]);
                add_pairs(&p6, c0, c1, c2, c3, dy[x6 + i]);
                add_pairs(&p7, c0, c1, c2, c3, dy[x7 + i]);
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
    }
    store(t, k, s0);
    store(t + 1u, k, s1);
    store(t + 2u, k, s2);
    store(t + 3u, k, s3);
    store(t + 4u, k, s4);
    store(t + 5u, k, s5);
    store(t + 6u, k, s6);
    store(t + 7u, k, s7);
}

// Writes one token's 16 sums; component c of part j is column k + 4c + j.
fn store(t: u32, k: u32, sums: BlockSums) {
    if t < params.tokens {
        let row = (t * params.slots + params.slot) * (params.in_features + 4u);
        let offset = bitcast<i32>(dy_info[t * 4u + 2u]);
        store_part(row, k, sums.a - offset);
        store_part(row, k + 1u, sums.b - offset);
        store_part(row, k + 2u, sums.c - offset);
        store_part(row, k + 3u, sums.d - offset);
    }
}

fn store_part(row: u32, k: u32, part: vec4<i32>) {
    if k < params.in_features {
        out[row + k] = part.x;
    }
    if k + 4u < params.in_features {
        out[row + k + 4u] = part.y;
    }
    if k + 8u < params.in_features {
        out[row + k + 8u] = part.z;
    }
    if k + 12u < params.in_features {
        out[row + k + 12u] = part.w;
    }
}
