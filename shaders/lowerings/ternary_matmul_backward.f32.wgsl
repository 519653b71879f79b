// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], on codes 0..=2 and integers held in f32.
// One workgroup: 64 tokens × 64 columns, staged 16 n at a time in 8 KiB. One invocation: 8 × 8.
// Sums go to `out` as i32 every 32,768 n: |sum| ≤ 2 · 128 · 2^15 = 2^23 < 2^24, so each partial sum, fused or not,
// in any order, is exact.

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

var<workgroup> bytes: array<vec4<f32>, 256>; // [16 n, 16 × 4 tokens]
var<workgroup> codes: array<vec4<f32>, 256>; // [16 n, 16 × 4 columns]

// Four columns of each of eight tokens.
struct Sums {
    t0: vec4<f32>,
    t1: vec4<f32>,
    t2: vec4<f32>,
    t3: vec4<f32>,
    t4: vec4<f32>,
    t5: vec4<f32>,
    t6: vec4<f32>,
    t7: vec4<f32>,
}

// Which share of a result is stored.
struct Part {
    first: bool,
    last_plane: bool,
}

@compute @workgroup_size(8, 8, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let words = row_words(params.out_features);
    let stride = row_words(params.in_features);
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_k = group.x * 64u;
    // Stages a word of four tokens and a block. Beyond the last token or column the last is read again, and dropped.
    let word = index & 3u;
    let quad = index >> 2u;
    let stage_t = tile_t + quad * 4u;
    let last_t = params.tokens - 1u;
    let step = params.planes * words;
    let x0 = min(stage_t, last_t) * step + word;
    let x1 = min(stage_t + 1u, last_t) * step + word;
    let x2 = min(stage_t + 2u, last_t) * step + word;
    let x3 = min(stage_t + 3u, last_t) * step + word;
    let w_row = index >> 4u; // neighbours read neighbouring columns
    let w = w_row * stride + min((tile_k >> 2u) + (index & 15u), stride - 1u);
    let t = tile_t + local.y * 8u;
    let k = tile_k + local.x * 8u;
    for (var start = 0u; start < words; start += 8192u) {
        for (var plane = 0u; plane < params.planes; plane++) {
            var left = Sums();
            var right = Sums();
            let end = min(start + 8192u, words);
            for (var n = start; n < end; n += 4u) {
                workgroupBarrier();
                let i = plane * words + n;
                stage_bytes(word * 64u + quad, vec4<u32>(dy[x0 + i], dy[x1 + i], dy[x2 + i], dy[x3 + i]));
                stage_codes(w_row * 64u + (index & 15u), weights[w + n * stride]);
                workgroupBarrier();
                for (var j = 0u; j < 256u; j += 64u) {
                    let c = j + local.x * 2u;
                    let b = j + local.y * 2u;
                    accumulate(&left, &right, c, b);
                    accumulate(&left, &right, c + 16u, b + 16u);
                    accumulate(&left, &right, c + 32u, b + 32u);
                    accumulate(&left, &right, c + 48u, b + 48u);
                }
            }
            let part = Part(start == 0u && plane == 0u, plane + 1u == params.planes);
            if k < params.in_features {
                store(t, k, left, part);
            }
            if k + 4u < params.in_features {
                store(t, k + 4u, right, part);
            }
        }
    }
}

// A word of each of four tokens.
fn stage_bytes(at: u32, words: vec4<u32>) {
    bytes[at] = vec4<f32>(bitcast<vec4<i32>>(words << vec4<u32>(24u)) >> vec4<u32>(24u));
    bytes[at + 16u] = vec4<f32>(bitcast<vec4<i32>>(words << vec4<u32>(16u)) >> vec4<u32>(24u));
    bytes[at + 32u] = vec4<f32>(bitcast<vec4<i32>>(words << vec4<u32>(8u)) >> vec4<u32>(24u));
    bytes[at + 48u] = vec4<f32>(bitcast<vec4<i32>>(words) >> vec4<u32>(24u));
}

// Byte j of the word: column j, row i at bit 2i.
fn stage_codes(at: u32, word: u32) {
    let block = vec4<u32>(word, word >> 8u, word >> 16u, word >> 24u);
    codes[at] = vec4<f32>(block & vec4<u32>(3u));
    codes[at + 16u] = vec4<f32>((block >> vec4<u32>(2u)) & vec4<u32>(3u));
    codes[at + 32u] = vec4<f32>((block >> vec4<u32>(4u)) & vec4<u32>(3u));
    codes[at + 48u] = vec4<f32>((block >> vec4<u32>(6u)) & vec4<u32>(3u));
}

fn accumulate(left: ptr<function, Sums>, right: ptr<function, Sums>, c: u32, b: u32) {
    add_products(left, codes[c], bytes[b], bytes[b + 1u]);
    add_products(right, codes[c + 1u], bytes[b], bytes[b + 1u]);
}

fn add_products(sums: ptr<function, Sums>, codes: vec4<f32>, low: vec4<f32>, high: vec4<f32>) {
    (*sums).t0 += codes * low.x;
    (*sums).t1 += codes * low.y;
    (*sums).t2 += codes * low.z;
    (*sums).t3 += codes * low.w;
    (*sums).t4 += codes * high.x;
    (*sums).t5 += codes * high.y;
    (*sums).t6 += codes * high.z;
    (*sums).t7 += codes * high.w;
}

fn store(t: u32, k: u32, sums: Sums, part: Part) {
    store_token(t, k, vec4<i32>(sums.t0), part);
    store_token(t + 1u, k, vec4<i32>(sums.t1), part);
    store_token(t + 2u, k, vec4<i32>(sums.t2), part);
    store_token(t + 3u, k, vec4<i32>(sums.t3), part);
    store_token(t + 4u, k, vec4<i32>(sums.t4), part);
    store_token(t + 5u, k, vec4<i32>(sums.t5), part);
    store_token(t + 6u, k, vec4<i32>(sums.t6), part);
    store_token(t + 7u, k, vec4<i32>(sums.t7), part);
}

// Column k exists; k + 1 .. k + 3 may not.
// The high plane counts 256 times; the first part takes off the token's sum, as codes are trits + 1.
fn store_token(t: u32, k: u32, sums: vec4<i32>, part: Part) {
    if t < params.tokens {
        let at = (t * params.slots + params.slot) * (params.in_features + 4u) + k;
        let offset = select(0, bitcast<i32>(dy_info[t * 4u + 2u]), part.first);
        let parts = sums * select(256, 1, part.last_plane) - offset;
        store_one(at, parts.x, part);
        if k + 1u < params.in_features {
            store_one(at + 1u, parts.y, part);
        }
        if k + 2u < params.in_features {
            store_one(at + 2u, parts.z, part);
        }
        if k + 3u < params.in_features {
            store_one(at + 3u, parts.w, part);
        }
    }
}

fn store_one(at: u32, value: i32, part: Part) {
    if part.first {
        out[at] = value;
    } else {
        out[at] += value;
    }
}
