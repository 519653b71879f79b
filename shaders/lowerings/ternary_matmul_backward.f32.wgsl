// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], on codes 0..=2 and integers held in f32.
// One invocation: 16 columns, 8 tokens, in registers. Every f32 sum is moved to i32 after 32,768 n:
// |sum| ≤ 2 · 128 · 2^15 = 2^23 < 2^24, so each partial sum, fused or not, in any order, is exact.

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

// One token's 16 columns, by their place in a block: component c of part j belongs to column 4c + j.
struct Sums {
    a: vec4<i32>,
    b: vec4<i32>,
    c: vec4<i32>,
    d: vec4<i32>,
}

// Sums of at most 8,192 words, placed as in Sums.
struct Floats {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

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
    var s0 = Sums();
    var s1 = Sums();
    var s2 = Sums();
    var s3 = Sums();
    var s4 = Sums();
    var s5 = Sums();
    var s6 = Sums();
    var s7 = Sums();
    for (var plane = 0u; plane < params.planes; plane++) {
        shift_plane(&s0);
        shift_plane(&s1);
        shift_plane(&s2);
        shift_plane(&s3);
        shift_plane(&s4);
        shift_plane(&s5);
        shift_plane(&s6);
        shift_plane(&s7);
        for (var start = 0u; start < words; start += 8192u) {
            var f0 = Floats();
            var f1 = Floats();
            var f2 = Floats();
            var f3 = Floats();
            var f4 = Floats();
            var f5 = Floats();
            var f6 = Floats();
            var f7 = Floats();
            let end = min(start + 8192u, words);
            for (var n = start; n < end; n++) {
                let at = n * stride;
                let block = vec4<u32>(weights[w0 + at], weights[w1 + at], weights[w2 + at], weights[w3 + at]);
                let i = plane * words + n;
                let v0 = floats(dy[x0 + i]);
                let v1 = floats(dy[x1 + i]);
                let v2 = floats(dy[x2 + i]);
                let v3 = floats(dy[x3 + i]);
                let v4 = floats(dy[x4 + i]);
                let v5 = floats(dy[x5 + i]);
                let v6 = floats(dy[x6 + i]);
                let v7 = floats(dy[x7 + i]);
                let a0 = codes(block);
                let a1 = codes(block >> vec4<u32>(2u));
                let a2 = codes(block >> vec4<u32>(4u));
                let a3 = codes(block >> vec4<u32>(6u));
                f0.a += a0 * v0.x + a1 * v0.y + a2 * v0.z + a3 * v0.w;
                f1.a += a0 * v1.x + a1 * v1.y + a2 * v1.z + a3 * v1.w;
                f2.a += a0 * v2.x + a1 * v2.y + a2 * v2.z + a3 * v2.w;
                f3.a += a0 * v3.x + a1 * v3.y + a2 * v3.z + a3 * v3.w;
                f4.a += a0 * v4.x + a1 * v4.y + a2 * v4.z + a3 * v4.w;
                f5.a += a0 * v5.x + a1 * v5.y + a2 * v5.z + a3 * v5.w;
                f6.a += a0 * v6.x + a1 * v6.y + a2 * v6.z + a3 * v6.w;
                f7.a += a0 * v7.x + a1 * v7.y + a2 * v7.z + a3 * v7.w;
                let b0 = codes(block >> vec4<u32>(8u));
                let b1 = codes(block >> vec4<u32>(10u));
                let b2 = codes(block >> vec4<u32>(12u));
                let b3 = codes(block >> vec4<u32>(14u));
                f0.b += b0 * v0.x + b1 * v0.y + b2 * v0.z + b3 * v0.w;
                f1.b += b0 * v1.x + b1 * v1.y + b2 * v1.z + b3 * v1.w;
                f2.b += b0 * v2.x + b1 * v2.y + b2 * v2.z + b3 * v2.w;
                f3.b += b0 * v3.x + b1 * v3.y + b2 * v3.z + b3 * v3.w;
                f4.b += b0 * v4.x + b1 * v4.y + b2 * v4.z + b3 * v4.w;
                f5.b += b0 * v5.x + b1 * v5.y + b2 * v5.z + b3 * v5.w;
                f6.b += b0 * v6.x + b1 * v6.y + b2 * v6.z + b3 * v6.w;
                f7.b += b0 * v7.x + b1 * v7.y + b2 * v7.z + b3 * v7.w;
                let c0 = codes(block >> vec4<u32>(16u));
                let c1 = codes(block >> vec4<u32>(18u));
                let c2 = codes(block >> vec4<u32>(20u));
                let c3 = codes(block >> vec4<u32>(22u));
                f0.c += c0 * v0.x + c1 * v0.y + c2 * v0.z + c3 * v0.w;
                f1.c += c0 * v1.x + c1 * v1.y + c2 * v1.z + c3 * v1.w;
                f2.c += c0 * v2.x + c1 * v2.y + c2 * v2.z + c3 * v2.w;
                f3.c += c0 * v3.x + c1 * v3.y + c2 * v3.z + c3 * v3.w;
                f4.c += c0 * v4.x + c1 * v4.y + c2 * v4.z + c3 * v4.w;
                f5.c += c0 * v5.x + c1 * v5.y + c2 * v5.z + c3 * v5.w;
                f6.c += c0 * v6.x + c1 * v6.y + c2 * v6.z + c3 * v6.w;
                f7.c += c0 * v7.x + c1 * v7.y + c2 * v7.z + c3 * v7.w;
                let d0 = codes(block >> vec4<u32>(24u));
                let d1 = codes(block >> vec4<u32>(26u));
                let d2 = codes(block >> vec4<u32>(28u));
                let d3 = codes(block >> vec4<u32>(30u));
                f0.d += d0 * v0.x + d1 * v0.y + d2 * v0.z + d3 * v0.w;
                f1.d += d0 * v1.x + d1 * v1.y + d2 * v1.z + d3 * v1.w;
                f2.d += d0 * v2.x + d1 * v2.y + d2 * v2.z + d3 * v2.w;
                f3.d += d0 * v3.x + d1 * v3.y + d2 * v3.z + d3 * v3.w;
                f4.d += d0 * v4.x + d1 * v4.y + d2 * v4.z + d3 * v4.w;
                f5.d += d0 * v5.x + d1 * v5.y + d2 * v5.z + d3 * v5.w;
                f6.d += d0 * v6.x + d1 * v6.y + d2 * v6.z + d3 * v6.w;
                f7.d += d0 * v7.x + d1 * v7.y + d2 * v7.z + d3 * v7.w;
            }
            flush(&s0, f0);
            flush(&s1, f1);
            flush(&s2, f2);
            flush(&s3, f3);
            flush(&s4, f4);
            flush(&s5, f5);
            flush(&s6, f6);
            flush(&s7, f7);
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

// The lowest code of each of four words.
fn codes(words: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(words & vec4<u32>(3u));
}

// The four signed bytes of a word.
fn floats(bytes: u32) -> vec4<f32> {
    let high = bitcast<vec4<i32>>(vec4<u32>(bytes << 24u, bytes << 16u, bytes << 8u, bytes));
    return vec4<f32>(high >> vec4<u32>(24u));
}

fn flush(sums: ptr<function, Sums>, floats: Floats) {
    (*sums).a += vec4<i32>(floats.a);
    (*sums).b += vec4<i32>(floats.b);
    (*sums).c += vec4<i32>(floats.c);
    (*sums).d += vec4<i32>(floats.d);
}

// Makes room for the next plane. Wraps, as the sum of codes may; the sum of trits fits.
fn shift_plane(sums: ptr<function, Sums>) {
    *sums = Sums((*sums).a * 256, (*sums).b * 256, (*sums).c * 256, (*sums).d * 256);
}

// Writes one token's 16 sums; component c of part j is column k + 4c + j.
fn store(t: u32, k: u32, sums: Sums) {
    if t < params.tokens {
        let row = (t * params.slots + params.slot) * params.in_features;
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
