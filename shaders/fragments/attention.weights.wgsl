// total[c] = Σ_i weight[i] · row[i][c] over the visible keys, in blocks of 32 keys that share a shift.

// The number of words of `keys`, at least the number of tokens of the longest sequence.
override keys_held: u32 = 2048u;
// One word for each visible key. It is overwritten in each pass, and finally holds the key's weight.
var<workgroup> keys: array<u32, keys_held>;
// The shift of each block's weights.
var<workgroup> shifts: array<u32, 64>;

// Feature c of the sum. Each block's exact sum, |.| ≤ 2^14 · 2^14 · 32, is multiplied by 2^(shift of the block − left).
// `start` is the first row's vector, and `stride` is the number of vectors from one key's row to the next.
fn weighted_sum(start: u32, stride: u32, count: u32, c: u32, left: i32) -> vec2<u32> {
    let vectors = plane_vectors(params.head_dim);
    var total = vec2(0u, 0u);
    for (var block = 0u; block < count; block += 32u) {
        var high = 0i; // |.| ≤ 2^14 · 2^6 · 32
        var low = 0i; // |.| ≤ 2^14 · 2^7 · 32
        for (var i = block; i < min(block + 32u, count); i++) {
            let vector = start + i * stride + (c >> 4u);
            let weight = bitcast<i32>(keys[i]);
            high += weight * summed_byte(vector, c);
            low += weight * summed_byte(vector + vectors, c);
        }
        let exact = join_planes(0i, high, low);
        total = add_64(total, align_64(exact, bitcast<i32>(shifts[block >> 5u]) - left));
    }
    return total;
}
