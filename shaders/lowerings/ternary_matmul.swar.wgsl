// out[t, n] = Σ_k x[t, k] · w[n, k], two rows to a product: x · (code + 2^16 · code′).
// One invocation: 16 rows, 16 tokens, in registers. Split into i32 sums every 128 k: 2 · 128 · 128 = 2^15,
// and −2^15 is the only end that is reached, so a half holds it.

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

// One token's 16 rows, by their place in a block: component c of part j belongs to row 4c + j.
struct Sums {
    a: vec4<i32>,
    b: vec4<i32>,
    c: vec4<i32>,
    d: vec4<i32>,
}

// Two rows of each of four blocks to an i32: low + 2^16 · high, both within −2^15..2^15.
struct Pairs {
    ac: vec4<i32>,
    bd: vec4<i32>,
}

// The code pairs of four blocks at each of four columns.
struct Codes {
    ac0: vec4<i32>,
    ac1: vec4<i32>,
    ac2: vec4<i32>,
    ac3: vec4<i32>,
    bd0: vec4<i32>,
    bd1: vec4<i32>,
    bd2: vec4<i32>,
    bd3: vec4<i32>,
}

@compute @workgroup_size(8, 4, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let n = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 4u + local.y) * 16u;
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
    let x8 = min(x0 + 8u * step, last_t);
    let x9 = min(x0 + 9u * step, last_t);
    let x10 = min(x0 + 10u * step, last_t);
    let x11 = min(x0 + 11u * step, last_t);
    let x12 = min(x0 + 12u * step, last_t);
    let x13 = min(x0 + 13u * step, last_t);
    let x14 = min(x0 + 14u * step, last_t);
    let x15 = min(x0 + 15u * step, last_t);
    var s0 = Sums();
    var s1 = Sums();
    var s2 = Sums();
    var s3 = Sums();
    var s4 = Sums();
    var s5 = Sums();
    var s6 = Sums();
    var s7 = Sums();
    var s8 = Sums();
    var s9 = Sums();
    var s10 = Sums();
    var s11 = Sums();
    var s12 = Sums();
    var s13 = Sums();
    var s14 = Sums();
    var s15 = Sums();
    for (var start = 0u; start < words; start += 32u) {
        var p0 = Pairs();
        var p1 = Pairs();
        var p2 = Pairs();
        var p3 = Pairs();
        var p4 = Pairs();
        var p5 = Pairs();
        var p6 = Pairs();
        var p7 = Pairs();
        var p8 = Pairs();
        var p9 = Pairs();
        var p10 = Pairs();
        var p11 = Pairs();
        var p12 = Pairs();
        var p13 = Pairs();
        var p14 = Pairs();
        var p15 = Pairs();
        let end = min(start + 32u, words);
        for (var k = start; k < end; k++) {
            let block = vec4<u32>(weights[w0 + k], weights[w1 + k], weights[w2 + k], weights[w3 + k]);
            let codes = decode(transpose_blocks(block));
            accumulate(&p0, codes, x[x0 + k]);
            accumulate(&p1, codes, x[x1 + k]);
            accumulate(&p2, codes, x[x2 + k]);
            accumulate(&p3, codes, x[x3 + k]);
            accumulate(&p4, codes, x[x4 + k]);
            accumulate(&p5, codes, x[x5 + k]);
            accumulate(&p6, codes, x[x6 + k]);
            accumulate(&p7, codes, x[x7 + k]);
            accumulate(&p8, codes, x[x8 + k]);
            accumulate(&p9, codes, x[x9 + k]);
            accumulate(&p10, codes, x[x10 + k]);
            accumulate(&p11, codes, x[x11 + k]);
            accumulate(&p12, codes, x[x12 + k]);
            accumulate(&p13, codes, x[x13 + k]);
            accumulate(&p14, codes, x[x14 + k]);
            accumulate(&p15, codes, x[x15 + k]);
        }
        split(&s0, p0);
        split(&s1, p1);
        split(&s2, p2);
        split(&s3, p3);
        split(&s4, p4);
        split(&s5, p5);
        split(&s6, p6);
        split(&s7, p7);
        split(&s8, p8);
        split(&s9, p9);
        split(&s10, p10);
        split(&s11, p11);
        split(&s12, p12);
        split(&s13, p13);
        split(&s14, p14);
        split(&s15, p15);
    }
    store(t, n, s0);
    store(t + 1u, n, s1);
    store(t + 2u, n, s2);
    store(t + 3u, n, s3);
    store(t + 4u, n, s4);
    store(t + 5u, n, s5);
    store(t + 6u, n, s6);
    store(t + 7u, n, s7);
    store(t + 8u, n, s8);
    store(t + 9u, n, s9);
    store(t + 10u, n, s10);
    store(t + 11u, n, s11);
    store(t + 12u, n, s12);
    store(t + 13u, n, s13);
    store(t + 14u, n, s14);
    store(t + 15u, n, s15);
}

// Bytes 0 and 2 of a word are rows a and c, bytes 1 and 3 b and d, of column i at bit 2i.
fn decode(words: vec4<u32>) -> Codes {
    return Codes(
        pairs(words), pairs(words >> vec4<u32>(2u)), pairs(words >> vec4<u32>(4u)), pairs(words >> vec4<u32>(6u)),
        pairs(words >> vec4<u32>(8u)), pairs(words >> vec4<u32>(10u)), pairs(words >> vec4<u32>(12u)),
        pairs(words >> vec4<u32>(14u)),
    );
}

fn pairs(words: vec4<u32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(words & vec4<u32>(0x00030003u));
}

fn accumulate(sums: ptr<function, Pairs>, codes: Codes, bytes: u32) {
    let v0 = bitcast<i32>(bytes << 24u) >> 24u;
    let v1 = bitcast<i32>(bytes << 16u) >> 24u;
    let v2 = bitcast<i32>(bytes << 8u) >> 24u;
    let v3 = bitcast<i32>(bytes) >> 24u;
    (*sums).ac += codes.ac0 * v0 + codes.ac1 * v1 + codes.ac2 * v2 + codes.ac3 * v3;
    (*sums).bd += codes.bd0 * v0 + codes.bd1 * v1 + codes.bd2 * v2 + codes.bd3 * v3;
}

fn split(sums: ptr<function, Sums>, pairs: Pairs) {
    (*sums).a += low(pairs.ac);
    (*sums).b += low(pairs.bd);
    (*sums).c += high(pairs.ac);
    (*sums).d += high(pairs.bd);
}

fn low(pair: vec4<i32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(bitcast<vec4<u32>>(pair) << vec4<u32>(16u)) >> vec4<u32>(16u);
}

// A negative low half has borrowed one; adding 2^15 gives it back.
fn high(pair: vec4<i32>) -> vec4<i32> {
    return (pair + 0x8000) >> vec4<u32>(16u);
}

fn transpose_blocks(words: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(
        transpose_block(words.x), transpose_block(words.y), transpose_block(words.z), transpose_block(words.w),
    );
}

// Writes one token's 16 sums; component c of part j is row n + 4c + j.
fn store(t: u32, n: u32, sums: Sums) {
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
