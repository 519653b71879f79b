// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], on codes 0..=2: Σ dy·code − Σ dy.
// One workgroup: 64 tokens × 64 columns, staged 32 n at a time in 4 KiB of workgroup memory, the codes already
// unpacked. One invocation: 8 tokens × 4 columns; between barriers it only loads and dots.

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
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, slots, in_features]

var<workgroup> bytes: array<vec4<u32>, 128>; // [8 words, 16 × 4 tokens]
var<workgroup> codes: array<vec4<u32>, 128>; // [8 words, 16 blocks × 4 columns]

@compute @workgroup_size(16, 8, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let words = row_words(params.out_features);
    let stride = row_words(params.in_features);
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_k = group.x * 64u;
    // Beyond the last column or token the last one is read again, and dropped.
    let word = index & 7u;
    let quad = index >> 3u;
    let last_t = params.tokens - 1u;
    let step = params.planes * words;
    let t0 = tile_t + quad * 4u;
    let x0 = min(t0, last_t) * step + word;
    let x1 = min(t0 + 1u, last_t) * step + word;
    let x2 = min(t0 + 2u, last_t) * step + word;
    let x3 = min(t0 + 3u, last_t) * step + word;
    let staged_x = word * 16u + quad;
    // Neighbours read neighbouring columns of w.
    let block = index & 15u;
    let w_row = index >> 4u;
    let w = w_row * stride + min((tile_k >> 2u) + block, stride - 1u);
    var s0 = vec4<i32>();
    var s1 = vec4<i32>();
    var s2 = vec4<i32>();
    var s3 = vec4<i32>();
    var s4 = vec4<i32>();
    var s5 = vec4<i32>();
    var s6 = vec4<i32>();
    var s7 = vec4<i32>();
    for (var plane = 0u; plane < params.planes; plane++) {
        // Wraps, as the sum of codes may; the sum of trits fits.
        s0 *= 256;
        s1 *= 256;
        s2 *= 256;
        s3 *= 256;
        s4 *= 256;
        s5 *= 256;
        s6 *= 256;
        s7 *= 256;
        let plane_start = plane * words;
        for (var n = 0u; n < words; n += 8u) {
            workgroupBarrier();
            let i = plane_start + n;
            bytes[staged_x] = vec4<u32>(dy[x0 + i], dy[x1 + i], dy[x2 + i], dy[x3 + i]);
            codes[index] = decode(transpose_block(weights[w + n * stride]));
            workgroupBarrier();
            for (var j = 0u; j < 8u; j++) {
                let c = codes[j * 16u + local.x];
                let lo = bytes[j * 16u + local.y * 2u];
                let hi = bytes[j * 16u + local.y * 2u + 1u];
                s0 += dots(c, lo.x);
                s1 += dots(c, lo.y);
                s2 += dots(c, lo.z);
                s3 += dots(c, lo.w);
                s4 += dots(c, hi.x);
                s5 += dots(c, hi.y);
                s6 += dots(c, hi.z);
                s7 += dots(c, hi.w);
            }
        }
    }
    let t = tile_t + local.y * 8u;
    let k = tile_k + local.x * 4u;
    store(t, k, s0);
    store(t + 1u, k, s1);
    store(t + 2u, k, s2);
    store(t + 3u, k, s3);
    store(t + 4u, k, s4);
    store(t + 5u, k, s5);
    store(t + 6u, k, s6);
    store(t + 7u, k, s7);
}

// Four columns of a block, four rows to a word.
fn decode(word: u32) -> vec4<u32> {
    return vec4<u32>(word, word >> 2u, word >> 4u, word >> 6u) & vec4<u32>(0x03030303u);
}

fn dots(codes: vec4<u32>, bytes: u32) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(codes.x, bytes), dot4I8Packed(codes.y, bytes),
        dot4I8Packed(codes.z, bytes), dot4I8Packed(codes.w, bytes),
    );
}

fn store(t: u32, k: u32, sums: vec4<i32>) {
    if t < params.tokens {
        let at = (t * params.slots + params.slot) * params.in_features + k;
        let values = sums - bitcast<i32>(dy_info[t * 4u + 2u]);
        if k < params.in_features {
            out[at] = values.x;
        }
        if k + 1u < params.in_features {
            out[at + 1u] = values.y;
        }
        if k + 2u < params.in_features {
            out[at + 2u] = values.z;
        }
        if k + 3u < params.in_features {
            out[at + 3u] = values.w;
        }
    }
}
