// out[t, n] = Σ_k x[t, k] · w[n, k], on codes 0..=2: Σ x·code − Σ x.
// One workgroup: 64 tokens × 64 rows, staged 32 k at a time in 4 KiB, the codes already unpacked.
// One invocation: 8 tokens × 4 rows; between barriers it only loads and dots.

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

var<workgroup> bytes: array<vec4<u32>, 128>; // [8 words, 16 × 4 tokens]
var<workgroup> codes: array<vec4<u32>, 128>; // [8 words, 16 × 4 rows]
var<workgroup> offsets: array<i32, 64>; // minus the token's sum: codes are trits + 1

@compute @workgroup_size(16, 8, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let words = row_words(params.in_features);
    let tile_t = (group.y + params.first_group) * 64u;
    let tile_n = group.x * 64u;
    // Stages a word of four tokens and a block. Beyond the last token or row the last is read again, and dropped.
    let word = index & 7u;
    let quad = index >> 3u;
    let stage_t = tile_t + quad * 4u;
    let last_t = params.tokens - 1u;
    let x0 = min(stage_t, last_t) * words + word;
    let x1 = min(stage_t + 1u, last_t) * words + word;
    let x2 = min(stage_t + 2u, last_t) * words + word;
    let x3 = min(stage_t + 3u, last_t) * words + word;
    let w = min((tile_n >> 2u) + quad, row_words(params.out_features) - 1u) * words + word;
    let staged = word * 16u + quad;
    let t = tile_t + local.y * 8u;
    let n = tile_n + local.x * 4u;
    let c = local.x;
    let b = local.y * 2u;
    let o = local.y * 8u;
    if index < 64u {
        offsets[index] = -bitcast<i32>(x_info[min(tile_t + index, last_t) * 4u + 2u]);
    }
    workgroupBarrier();
    var sums = TileSums(
        vec4<i32>(offsets[o]), vec4<i32>(offsets[o + 1u]), vec4<i32>(offsets[o + 2u]), vec4<i32>(offsets[o + 3u]),
        vec4<i32>(offsets[o + 4u]), vec4<i32>(offsets[o + 5u]), vec4<i32>(offsets[o + 6u]), vec4<i32>(offsets[o + 7u]),
    );
    for (var k = 0u; k < words; k += 8u) {
        workgroupBarrier();
        bytes[staged] = vec4<u32>(x[x0 + k], x[x1 + k], x[x2 + k], x[x3 + k]);
        codes[staged] = tile_codes(weights[w + k]);
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
    let row = params.out_features + 4u;
    let at = t * row + n;
    let exists = vec4<u32>(n, n + 1u, n + 2u, n + 3u) < vec4<u32>(params.out_features);
    store(t, at, sums.t0, exists);
    store(t + 1u, at + row, sums.t1, exists);
    store(t + 2u, at + 2u * row, sums.t2, exists);
    store(t + 3u, at + 3u * row, sums.t3, exists);
    store(t + 4u, at + 4u * row, sums.t4, exists);
    store(t + 5u, at + 5u * row, sums.t5, exists);
    store(t + 6u, at + 6u * row, sums.t6, exists);
    store(t + 7u, at + 7u * row, sums.t7, exists);
}

fn store(t: u32, at: u32, sums: vec4<i32>, exists: vec4<bool>) {
    if t < params.tokens && exists.x {
        out[at] = sums.x;
        if exists.y {
            out[at + 1u] = sums.y;
        }
        if exists.z {
            out[at + 2u] = sums.z;
        }
        if exists.w {
            out[at + 3u] = sums.w;
        }
    }
}
