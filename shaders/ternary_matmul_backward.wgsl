// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], on codes 0..=2: Σ dy·code − Σ dy.
// One invocation: 16 columns, 8 tokens, in registers; no barrier, so a software GPU runs it well too.

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
@group(0) @binding(1) var<storage, read> dy: array<u32>; // [tokens, planes, out_features] byte rows
@group(0) @binding(2) var<storage, read> dy_info: array<u32>; // [tokens, 4], word 2 is the row's sum
@group(0) @binding(3) var<storage, read> weights: array<u32>; // [out_features, in_features] block words
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, slots, in_features + 4]

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let k = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 8u + local.y) * 8u;
    if k >= params.in_features || t >= params.tokens {
        return;
    }
    let words = row_words(params.out_features);
    let stride = row_words(params.in_features);
    // Beyond the last column or token the last one is read again, and dropped.
    let w0 = k >> 2u;
    let w1 = min(w0 + 1u, stride - 1u);
    let w2 = min(w0 + 2u, stride - 1u);
    let w3 = min(w0 + 3u, stride - 1u);
    let step = params.planes * words;
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
        for (var n = 0u; n < words; n++) {
            let at = n * stride;
            let block = vec4<u32>(weights[w0 + at], weights[w1 + at], weights[w2 + at], weights[w3 + at]);
            let codes = blocks_codes(transpose_blocks(block));
            let i = plane * words + n;
            add_dots(&s0, codes, dy[x0 + i]);
            add_dots(&s1, codes, dy[x1 + i]);
            add_dots(&s2, codes, dy[x2 + i]);
            add_dots(&s3, codes, dy[x3 + i]);
            add_dots(&s4, codes, dy[x4 + i]);
            add_dots(&s5, codes, dy[x5 + i]);
            add_dots(&s6, codes, dy[x6 + i]);
            add_dots(&s7, codes, dy[x7 + i]);
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
