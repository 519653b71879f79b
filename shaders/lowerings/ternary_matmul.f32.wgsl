// out[t, n] = Σ_k x[t, k] · w[n, k], on codes 0..=2 and integers held in f32.
// One workgroup: 64 tokens × 64 rows, staged 16 k at a time in 8 KiB. One invocation: 8 × 8.
// Sums go to `out` as i32 every 32,768 k: |sum| ≤ 2 · 128 · 2^15 = 2^23 < 2^24, so each partial sum, fused or not,
// in any order, is exact.

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

var<workgroup> bytes: array<vec4<f32>, 256>; // [16 k, 16 × 4 tokens]
var<workgroup> codes: array<vec4<f32>, 256>; // [16 k, 16 × 4 rows]

// Four rows of each of eight tokens.
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

@compute @workgroup_size(8, 8, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let words = row_words(params.in_features);
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_n = group.x * 64u;
    // Stages a word of four tokens and a block. Beyond the last token or row the last is read again, and dropped.
    let word = index & 3u;
    let quad = index >> 2u;
    let stage_t = tile_t + quad * 4u;
    let last_t = params.tokens - 1u;
    let x0 = min(stage_t, last_t) * words + word;
    let x1 = min(stage_t + 1u, last_t) * words + word;
    let x2 = min(stage_t + 2u, last_t) * words + word;
    let x3 = min(stage_t + 3u, last_t) * words + word;
    let w = min((tile_n >> 2u) + quad, row_words(params.out_features) - 1u) * words + word;
    let t = tile_t + local.y * 8u;
    let n = tile_n + local.x * 8u;
    for (var start = 0u; start < words; start += 8192u) {
        var left = Sums();
        var right = Sums();
        let end = min(start + 8192u, words);
        for (var k = start; k < end; k += 4u) {
            workgroupBarrier();
            stage_bytes(word * 64u + quad, vec4<u32>(x[x0 + k], x[x1 + k], x[x2 + k], x[x3 + k]));
            stage_codes(word * 64u + quad, transpose_block(weights[w + k]));
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
        if n < params.out_features {
            store(t, n, left, start == 0u);
        }
        if n + 4u < params.out_features {
            store(t, n + 4u, right, start == 0u);
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

// Byte j of the word: row j, column i at bit 2i.
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

fn store(t: u32, n: u32, sums: Sums, first: bool) {
    store_token(t, n, vec4<i32>(sums.t0), first);
    store_token(t + 1u, n, vec4<i32>(sums.t1), first);
    store_token(t + 2u, n, vec4<i32>(sums.t2), first);
    store_token(t + 3u, n, vec4<i32>(sums.t3), first);
    store_token(t + 4u, n, vec4<i32>(sums.t4), first);
    store_token(t + 5u, n, vec4<i32>(sums.t5), first);
    store_token(t + 6u, n, vec4<i32>(sums.t6), first);
    store_token(t + 7u, n, vec4<i32>(sums.t7), first);
}

// Row n exists; n + 1 .. n + 3 may not.
// The first part takes off the token's sum, as codes are trits + 1.
fn store_token(t: u32, n: u32, sums: vec4<i32>, first: bool) {
    if t < params.tokens {
        let at = t * (params.out_features + 4u) + n;
        let offset = select(0, bitcast<i32>(x_info[t * 4u + 2u]), first);
        let parts = sums - offset;
        store_one(at, parts.x, first);
        if n + 1u < params.out_features {
            store_one(at + 1u, parts.y, first);
        }
        if n + 2u < params.out_features {
            store_one(at + 2u, parts.z, first);
        }
        if n + 3u < params.out_features {
            store_one(at + 3u, parts.w, first);
        }
    }
}

fn store_one(at: u32, value: i32, first: bool) {
    if first {
        out[at] = value;
    } else {
        out[at] += value;
    }
}
