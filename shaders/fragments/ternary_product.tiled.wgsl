// A ternary product: out[t, f] = Σ_p input[t, p] · code[f, p] − Σ_p input[t, p], where code = trit + 1, t is a token,
// f an output feature, and p an element of the input row. It is computed in tiles, with packed dot products.
// One workgroup computes 64 tokens × 64 features. For 32 elements of each input row at a time, it stages the inputs and
// the unpacked codes in 4 KiB of workgroup memory.
// One invocation computes 8 tokens × 4 features. Between staging steps, it only loads words and takes dot products.

var<workgroup> bytes: array<vec4<u32>, 128>; // [8 words, 16 × 4 tokens]
var<workgroup> codes: array<vec4<u32>, 128>; // [8 words, 16 × 4 features]
var<workgroup> offsets: array<i32, 64>; // minus the sum of each token's inputs, because codes are trits + 1

@compute @workgroup_size(16, 8, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let words = row_words(input_len());
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_f = group.x * 64u;
    // Each invocation copies one word from the input row of each of four tokens, and one block of 4 × 4 weights, to
    // workgroup memory. A token or block past the end is replaced by the last one; `store_tile` drops the extra
    // results.
    let word = index & 7u;
    let quad = index >> 3u;
    let rows = input_rows(tile_t + quad * 4u) + vec4<u32>(word);
    let place = staged(vec2<u32>(quad, word), vec2<u32>(index & 15u, index >> 4u));
    let block = min((tile_f >> 2u) + place.x, row_words(features()) - 1u);
    let w = block * block_stride() + place.y * input_stride();
    let bytes_at = word * 16u + quad;
    let codes_at = place.y * 16u + place.x;
    let t = tile_t + local.y * 8u;
    let f = tile_f + local.x * 4u;
    let c = local.x;
    let b = local.y * 2u;
    let o = local.y * 8u;
    var sums = TileSums();
    for (var plane = 0u; plane < planes(); plane++) {
        if index < 64u {
            let sum = input_sum(min(tile_t + index, params.tokens - 1u));
            offsets[index] = select(0, -sum, plane + 1u == planes());
        }
        workgroupBarrier();
        // Sums of codes (trits plus 1) may wrap here, but they stay correct modulo 2^32. The final sums, of trits, fit
        // in i32, so they are exact.
        sums.t0 = sums.t0 * 256 + offsets[o];
        sums.t1 = sums.t1 * 256 + offsets[o + 1u];
        sums.t2 = sums.t2 * 256 + offsets[o + 2u];
        sums.t3 = sums.t3 * 256 + offsets[o + 3u];
        sums.t4 = sums.t4 * 256 + offsets[o + 4u];
        sums.t5 = sums.t5 * 256 + offsets[o + 5u];
        sums.t6 = sums.t6 * 256 + offsets[o + 6u];
        sums.t7 = sums.t7 * 256 + offsets[o + 7u];
        let plane_start = plane * words;
        for (var p = 0u; p < words; p += 8u) {
            workgroupBarrier();
            let at = rows + vec4<u32>(plane_start + p);
            bytes[bytes_at] = vec4<u32>(input(at.x), input(at.y), input(at.z), input(at.w));
            codes[codes_at] = tile_codes(by_inputs(weights[w + p * input_stride()]));
            workgroupBarrier();
            add_tile(&sums, codes[c], bytes[b], bytes[b + 1u]);
            add_tile(&sums, codes[c + 16u], bytes[b + 16u], bytes[b + 17u]);
            add_tile(&sums, codes[c + 32u], bytes[b + 32u], bytes[b + 33u]);
            add_tile(&sums, codes[c + 48u], bytes[b + 48u], bytes[b + 49u]);
            add_tile(&sums, codes[c + 64u], bytes[b + 64u], bytes[b + 65u]);
            add_tile(&sums, codes[c + 80u], bytes[b + 80u], bytes[b + 81u]);
            add_tile(&sums, codes[c + 96u], bytes[b + 96u], bytes[b + 97u]);
            add_tile(&sums, codes[c + 112u], bytes[b + 112u], bytes[b + 113u]);
        }
    }
    store_tile(t, f, sums.t0);
    store_tile(t + 1u, f, sums.t1);
    store_tile(t + 2u, f, sums.t2);
    store_tile(t + 3u, f, sums.t3);
    store_tile(t + 4u, f, sums.t4);
    store_tile(t + 5u, f, sums.t5);
    store_tile(t + 6u, f, sums.t6);
    store_tile(t + 7u, f, sums.t7);
}

// Writes the sums of token t for features f to f + 3. A token or feature past the last one is skipped.
fn store_tile(t: u32, f: u32, sums: vec4<i32>) {
    if t < params.tokens && f < features() {
        let at = result_at(t) + f;
        out[at] = sums.x;
        if f + 1u < features() {
            out[at + 1u] = sums.y;
        }
        if f + 2u < features() {
            out[at + 2u] = sums.z;
        }
        if f + 3u < features() {
            out[at + 3u] = sums.w;
        }
    }
}
