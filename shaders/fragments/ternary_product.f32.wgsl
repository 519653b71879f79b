// A ternary product: out[t, f] = Σ_p input[t, p] · code[f, p] − Σ_p input[t, p], where code = trit + 1, t is a token, f
// an output feature, and p an element of the input row. It is computed in f32, but all values are integers.
// One workgroup computes 64 tokens × 64 features. For 16 elements of each input row at a time, it stages the inputs and
// the codes in 8 KiB of workgroup memory. One invocation computes 8 tokens × 8 features.
// After every 32,768 elements of a row, the sums are added to `out` as i32. Until then, |sum| ≤ 2 · 128 · 2^15 = 2^23 <
// 2^24, so each partial sum is exact, in any order and with or without fused multiply-adds.

var<workgroup> bytes: array<vec4<f32>, 256>; // [16 input elements, 16 × 4 tokens]
var<workgroup> codes: array<vec4<f32>, 256>; // [16 input elements, 16 × 4 features]

// Sums of products for eight tokens (one field for each) and four features.
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

// How partial sums are stored. If `first` is true, they overwrite the output; otherwise, they are added to it. An input
// row has one int8 plane, or two: the high bytes of its values, then the low bytes. If `last_plane` is true, the sums
// are over the last plane and count once; otherwise, they are over the high bytes and count 256 times.
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
    let words = row_words(input_len());
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_f = group.x * 64u;
    // Each invocation copies one word from the input row of each of four tokens, and one block of 4 × 4 weights, to
    // workgroup memory. A token or block past the end is replaced by the last one; the extra results are not stored.
    let word = index & 3u;
    let quad = index >> 2u;
    let rows = input_rows(tile_t + quad * 4u) + vec4<u32>(word);
    let place = staged(vec2<u32>(quad, word), vec2<u32>(index & 15u, index >> 4u));
    let block = min((tile_f >> 2u) + place.x, row_words(features()) - 1u);
    let w = block * block_stride() + place.y * input_stride();
    let t = tile_t + local.y * 8u;
    let f = tile_f + local.x * 8u;
    for (var start = 0u; start < words; start += 8192u) {
        for (var plane = 0u; plane < planes(); plane++) {
            var left = Sums();
            var right = Sums();
            let end = min(start + 8192u, words);
            for (var p = start; p < end; p += 4u) {
                workgroupBarrier();
                let at = rows + vec4<u32>(plane * words + p);
                stage_bytes(word * 64u + quad, vec4<u32>(input(at.x), input(at.y), input(at.z), input(at.w)));
                stage_codes(place.y * 64u + place.x, by_features(weights[w + p * input_stride()]));
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
            let part = Part(start == 0u && plane == 0u, plane + 1u == planes());
            if f < features() {
                store_eight(t, f, left, part);
            }
            if f + 4u < features() {
                store_eight(t, f + 4u, right, part);
            }
        }
    }
}

// Copies four input words, one for each of four tokens, to workgroup memory as f32. Each word has four int8 values.
fn stage_bytes(at: u32, words: vec4<u32>) {
    bytes[at] = vec4<f32>(bitcast<vec4<i32>>(words << vec4<u32>(24u)) >> vec4<u32>(24u));
    bytes[at + 16u] = vec4<f32>(bitcast<vec4<i32>>(words << vec4<u32>(16u)) >> vec4<u32>(24u));
    bytes[at + 32u] = vec4<f32>(bitcast<vec4<i32>>(words << vec4<u32>(8u)) >> vec4<u32>(24u));
    bytes[at + 48u] = vec4<f32>(bitcast<vec4<i32>>(words) >> vec4<u32>(24u));
}

// Copies the 16 codes of a block (4 features × 4 input elements) to workgroup memory as f32. In `word`, each byte
// belongs to one feature and has the feature's two-bit codes for four input elements.
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

fn store_eight(t: u32, f: u32, sums: Sums, part: Part) {
    store_token(t, f, vec4<i32>(sums.t0), part);
    store_token(t + 1u, f, vec4<i32>(sums.t1), part);
    store_token(t + 2u, f, vec4<i32>(sums.t2), part);
    store_token(t + 3u, f, vec4<i32>(sums.t3), part);
    store_token(t + 4u, f, vec4<i32>(sums.t4), part);
    store_token(t + 5u, f, vec4<i32>(sums.t5), part);
    store_token(t + 6u, f, vec4<i32>(sums.t6), part);
    store_token(t + 7u, f, vec4<i32>(sums.t7), part);
}

// Stores the sums of token t for features f to f + 3. Feature f must exist; features past the last one are skipped. The
// sums were formed with codes, which are trits plus 1. To correct this, the sum of the token's inputs is subtracted
// once, when the first partial sums are stored.
fn store_token(t: u32, f: u32, sums: vec4<i32>, part: Part) {
    if t < params.tokens {
        let at = result_at(t) + f;
        let offset = select(0, input_sum(t), part.first);
        let parts = sums * select(256, 1, part.last_plane) - offset;
        store_one(at, parts.x, part);
        if f + 1u < features() {
            store_one(at + 1u, parts.y, part);
        }
        if f + 2u < features() {
            store_one(at + 2u, parts.z, part);
        }
        if f + 3u < features() {
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
