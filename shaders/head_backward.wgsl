// The gradient of the output head's input: dn[t, i] = Σ_v dlogits[t, v] · embedding[v, i], where t is a token, i a
// feature, and v an entry of the vocabulary. Each dispatch adds the sum over one shard of the vocabulary. The result is
// exact: intermediate values may wrap around, but they stay correct mod 2^32, and each final sum fits in i32.
// One invocation computes four features of four tokens.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    vocab: u32,
    shard: u32,
    exponent: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [tokens, 3 · row_words(vocab) + 2] words: for each token, dlogits (Q22) as three int8 planes of row_words(vocab)
// words each (all high bytes, then all middle bytes, then all low bytes), then the loss (i64)
@group(0) @binding(1) var<storage, read> dlogits: array<u32>;
@group(0) @binding(2) var<storage, read> embedding: array<u32>; // [vocab, width] byte rows
@group(0) @binding(3) var<storage, read_write> dn: array<i32>; // [tokens, width + 4] i32 rows

// Joins the sums over the three int8 planes of dlogits to 2^16 · high + 2^8 · middle + low, separately for each of four
// features. Adds the results to features c to c + 3 of token t in `dn`; for the first shard, overwrites these features
// instead. Skips a token or feature past the last one.
fn put(t: u32, c: u32, high: vec4<i32>, middle: vec4<i32>, low: vec4<i32>) {
    if t >= params.tokens {
        return;
    }
    let planes = bitcast<vec4<u32>>(high) * 65536u + bitcast<vec4<u32>>(middle) * 256u + bitcast<vec4<u32>>(low);
    let row = t * (params.width + 4u);
    add(row, c, planes.x);
    add(row, c + 1u, planes.y);
    add(row, c + 2u, planes.z);
    add(row, c + 3u, planes.w);
    if c == 0u {
        let scale = scale_power(params.exponent);
        let end = row + params.width;
        dn[end] = bitcast<i32>(scale.mantissa);
        dn[end + 1u] = scale.exponent;
        dn[end + 2u] = 0i;
        dn[end + 3u] = 0i;
    }
}

fn add(row: u32, c: u32, value: u32) {
    if c >= params.width {
        return;
    }
    var sum = value;
    if params.shard != 0u {
        sum += bitcast<u32>(dn[row + c]);
    }
    dn[row + c] = bitcast<i32>(sum);
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let c = (group.x << 8u) + (local.x << 2u);
    if c >= params.width {
        return;
    }
    let words = row_words(params.vocab);
    let stride = row_words(params.width);
    let t = (group.y + params.first_group) << 2u;
    // Instead of a token past the end, the last token is read; `put` drops the extra results. Instead of a row past the
    // end of the embedding, the last row is read. It adds nothing to the sums, because the dlogits by which it is
    // multiplied are past the end too, and are 0.
    let rows = min(vec4(t, t + 1u, t + 2u, t + 3u), vec4(params.tokens - 1u)) * (words * 3u + 2u);
    let last = params.vocab - 1u;
    var high_0 = vec4(0i);
    var high_1 = vec4(0i);
    var high_2 = vec4(0i);
    var high_3 = vec4(0i);
    var middle_0 = vec4(0i);
    var middle_1 = vec4(0i);
    var middle_2 = vec4(0i);
    var middle_3 = vec4(0i);
    var low_0 = vec4(0i);
    var low_1 = vec4(0i);
    var low_2 = vec4(0i);
    var low_3 = vec4(0i);
    let quads = (params.vocab + 3u) >> 2u;
    for (var k = 0u; k < quads; k++) {
        let v = k << 2u;
        let near = min(vec4(v, v + 1u, v + 2u, v + 3u), vec4(last)) * stride + (c >> 2u);
        let columns = transpose_bytes(vec4(embedding[near.x], embedding[near.y], embedding[near.z], embedding[near.w]));
        let high = rows + k;
        high_0 += dot_columns(columns, dlogits[high.x]);
        high_1 += dot_columns(columns, dlogits[high.y]);
        high_2 += dot_columns(columns, dlogits[high.z]);
        high_3 += dot_columns(columns, dlogits[high.w]);
        let middle = high + words;
        middle_0 += dot_columns(columns, dlogits[middle.x]);
        middle_1 += dot_columns(columns, dlogits[middle.y]);
        middle_2 += dot_columns(columns, dlogits[middle.z]);
        middle_3 += dot_columns(columns, dlogits[middle.w]);
        let low = middle + words;
        low_0 += dot_columns(columns, dlogits[low.x]);
        low_1 += dot_columns(columns, dlogits[low.y]);
        low_2 += dot_columns(columns, dlogits[low.z]);
        low_3 += dot_columns(columns, dlogits[low.w]);
    }
    put(t, c, high_0, middle_0, low_0);
    put(t + 1u, c, high_1, middle_1, low_1);
    put(t + 2u, c, high_2, middle_2, low_2);
    put(t + 3u, c, high_3, middle_3, low_3);
}
