// out[t, slot, k] = Σ_n dy[t, n] · w[n, k], on codes 0..=2: Σ dy·code − Σ dy.
// One workgroup: 64 tokens × 64 columns, staged 32 n at a time in 4 KiB, the codes already unpacked.
// One invocation: 8 tokens × 4 columns; between barriers it only loads and dots.

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

var<workgroup> bytes: array<vec4<u32>, 128>; // [8 words, 16 × 4 tokens]
var<workgroup> codes: array<vec4<u32>, 128>; // [8 words, 16 × 4 columns]
var<workgroup> offsets: array<i32, 64>; // minus the token's sum: codes are trits + 1

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
    // Stages a word of four tokens and a block. Beyond the last token or column the last is read again, and dropped.
    let word = index & 7u;
    let quad = index >> 3u;
    let stage_t = tile_t + quad * 4u;
    let last_t = params.tokens - 1u;
    let step = params.planes * words;
    let x0 = min(stage_t, last_t) * step + word;
    let x1 = min(stage_t + 1u, last_t) * step + word;
    let x2 = min(stage_t + 2u, last_t) * step + word;
    let x3 = min(stage_t + 3u, last_t) * step + word;
    let w_row = index >> 4u; // neighbours read neighbouring columns
    let w = w_row * stride + min((tile_k >> 2u) + (index & 15u), stride - 1u);
    let staged = word * 16u + quad;
    let t = tile_t + local.y * 8u;
    let k = tile_k + local.x * 4u;
    let c = local.x;
    let b = local.y * 2u;
    let o = local.y * 8u;
    var sums = TileSums();
    for (var plane = 0u; plane < params.planes; plane++) {
        if index < 64u {
            let sum = bitcast<i32>(dy_info[min(tile_t + index, last_t) * 4u + 2u]);
            offsets[index] = select(0, -sum, plane + 1u == params.planes);
        }
        workgroupBarrier();
        // Wraps, as the sum of codes may; the sum of trits fits.
        sums.t0 = sums.t0 * 256 + offsets[o];
        sums.t1 = sums.t1 * 256 + offsets[o + 1u];
        sums.t2 = sums.t2 * 256 + offsets[o + 2u];
        sums.t3 = sums.t3 * 256 + offsets[o + 3u];
        sums.t4 = sums.t4 * 256 + offsets[o + 4u];
        sums.t5 = sums.t5 * 256 + offsets[o + 5u];
        sums.t6 = sums.t6 * 256 + offsets[o + 6u];
        sums.t7 = sums.t7 * 256 + offsets[o + 7u];
        let plane_start = plane * words;
        for (var n = 0u; n < words; n += 8u) {
            workgroupBarrier();
            let i = plane_start + n;
            bytes[staged] = vec4<u32>(dy[x0 + i], dy[x1 + i], dy[x2 + i], dy[x3 + i]);
            codes[index] = tile_codes(transpose_block(weights[w + n * stride]));
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
    let row = params.slots * (params.in_features + 4u);
    let at = t * row + params.slot * (params.in_features + 4u) + k;
    let exists = vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(params.in_features);
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
