// out[t, n] = Σ_k x[t, k] · w[n, k], on codes 0..=2: Σ x·code − Σ x.
// One workgroup: 64 tokens × 64 rows, staged 32 k at a time in 4 KiB of workgroup memory, the codes already
// unpacked. One invocation: 8 tokens × 4 rows; between barriers it only loads and dots.

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
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, out_features]

var<workgroup> bytes: array<vec4<u32>, 128>; // [8 words, 16 × 4 tokens]
var<workgroup> codes: array<vec4<u32>, 128>; // [8 words, 16 blocks × 4 rows]

@compute @workgroup_size(16, 8, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let words = row_words(params.in_features);
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_n = group.x * 64u;
    // Beyond the last row or token the last one is read again, and dropped.
    let word = index & 7u;
    let quad = index >> 3u;
    let last_t = params.tokens - 1u;
    let t0 = tile_t + quad * 4u;
    let x0 = min(t0, last_t) * words + word;
    let x1 = min(t0 + 1u, last_t) * words + word;
    let x2 = min(t0 + 2u, last_t) * words + word;
    let x3 = min(t0 + 3u, last_t) * words + word;
    let w = min((tile_n >> 2u) + quad, row_words(params.out_features) - 1u) * words + word;
    let staged = word * 16u + quad;
    var s0 = vec4<i32>();
    var s1 = vec4<i32>();
    var s2 = vec4<i32>();
    var s3 = vec4<i32>();
    var s4 = vec4<i32>();
    var s5 = vec4<i32>();
    var s6 = vec4<i32>();
    var s7 = vec4<i32>();
    for (var k = 0u; k < words; k += 8u) {
        workgroupBarrier();
        bytes[staged] = vec4<u32>(x[x0 + k], x[x1 + k], x[x2 + k], x[x3 + k]);
        codes[staged] = decode(weights[w + k]);
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) {
            let c = codes[i * 16u + local.x];
            let lo = bytes[i * 16u + local.y * 2u];
            let hi = bytes[i * 16u + local.y * 2u + 1u];
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
    let t = tile_t + local.y * 8u;
    let n = tile_n + local.x * 4u;
    store(t, n, s0);
    store(t + 1u, n, s1);
    store(t + 2u, n, s2);
    store(t + 3u, n, s3);
    store(t + 4u, n, s4);
    store(t + 5u, n, s5);
    store(t + 6u, n, s6);
    store(t + 7u, n, s7);
}

// Four rows of a block, four columns to a word.
fn decode(word: u32) -> vec4<u32> {
    return vec4<u32>(word, word >> 2u, word >> 4u, word >> 6u) & vec4<u32>(0x03030303u);
}

fn dots(codes: vec4<u32>, bytes: u32) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(codes.x, bytes), dot4I8Packed(codes.y, bytes),
        dot4I8Packed(codes.z, bytes), dot4I8Packed(codes.w, bytes),
    );
}

fn store(t: u32, n: u32, sums: vec4<i32>) {
    if t < params.tokens {
        let at = t * params.out_features + n;
        let values = sums - bitcast<i32>(x_info[t * 4u + 2u]);
        if n < params.out_features {
            out[at] = values.x;
        }
        if n + 1u < params.out_features {
            out[at + 1u] = values.y;
        }
        if n + 2u < params.out_features {
            out[at + 2u] = values.z;
        }
        if n + 3u < params.out_features {
            out[at + 3u] = values.w;
        }
    }
}
