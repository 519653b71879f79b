// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], two columns to a product: dy · (code + 2^16 · code′).
// One invocation: 16 columns, 16 tokens, in registers. Split into i32 sums every 128 n: 2 · 128 · 128 = 2^15,
// and −2^15 is the only end that is reached, so a half holds it.

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

// One token's 16 columns, by their place in a block: component c of part j belongs to column 4c + j.
struct Sums {
    a: vec4<i32>,
    b: vec4<i32>,
    c: vec4<i32>,
    d: vec4<i32>,
}

// Two columns of each of four blocks to an i32: low + 2^16 · high, both within −2^15..2^15.
struct Pairs {
    ac: vec4<i32>,
    bd: vec4<i32>,
}

// The code pairs of four blocks at each of four rows.
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
    let k = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 4u + local.y) * 16u;
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
    for (var plane = 0u; plane < params.planes; plane++) {
        shift_plane(&s0);
        shift_plane(&s1);
        shift_plane(&s2);
        shift_plane(&s3);
        shift_plane(&s4);
        shift_plane(&s5);
        shift_plane(&s6);
        shift_plane(&s7);
        shift_plane(&s8);
        shift_plane(&s9);
        shift_plane(&s10);
        shift_plane(&s11);
        shift_plane(&s12);
        shift_plane(&s13);
        shift_plane(&s14);
        shift_plane(&s15);
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
            for (var n = start; n < end; n++) {
                let at = n * stride;
                let codes = decode(vec4<u32>(weights[w0 + at], weights[w1 + at], weights[w2 + at], weights[w3 + at]));
                let i = plane * words + n;
                accumulate(&p0, codes, dy[x0 + i]);
                accumulate(&p1, codes, dy[x1 + i]);
                accumulate(&p2, codes, dy[x2 + i]);
                accumulate(&p3, codes, dy[x3 + i]);
                accumulate(&p4, codes, dy[x4 + i]);
                accumulate(&p5, codes, dy[x5 + i]);
                accumulate(&p6, codes, dy[x6 + i]);
                accumulate(&p7, codes, dy[x7 + i]);
                accumulate(&p8, codes, dy[x8 + i]);
                accumulate(&p9, codes, dy[x9 + i]);
                accumulate(&p10, codes, dy[x10 + i]);
                accumulate(&p11, codes, dy[x11 + i]);
                accumulate(&p12, codes, dy[x12 + i]);
                accumulate(&p13, codes, dy[x13 + i]);
                accumulate(&p14, codes, dy[x14 + i]);
                accumulate(&p15, codes, dy[x15 + i]);
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
    }
    store(t, k, s0);
    store(t + 1u, k, s1);
    store(t + 2u, k, s2);
    store(t + 3u, k, s3);
    store(t + 4u, k, s4);
    store(t + 5u, k, s5);
    store(t + 6u, k, s6);
    store(t + 7u, k, s7);
    store(t + 8u, k, s8);
    store(t + 9u, k, s9);
    store(t + 10u, k, s10);
    store(t + 11u, k, s11);
    store(t + 12u, k, s12);
    store(t + 13u, k, s13);
    store(t + 14u, k, s14);
    store(t + 15u, k, s15);
}

// Bytes 0 and 2 of a word are columns a and c, bytes 1 and 3 b and d, of row i at bit 2i.
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

// Makes room for the next plane. Wraps, as the sum of codes may; the sum of trits fits.
fn shift_plane(sums: ptr<function, Sums>) {
    *sums = Sums((*sums).a * 256, (*sums).b * 256, (*sums).c * 256, (*sums).d * 256);
}

// Writes one token's 16 sums; component c of part j is column k + 4c + j.
fn store(t: u32, k: u32, sums: Sums) {
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
