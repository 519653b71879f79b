// Weighted sums over the visible keys i: total[c] = Σ_i weight[i] · row[i][c], where c is a feature. The weights of
// each block of 32 keys share a shift: a weight is the stored integer times 2^shift.

// The length of the array `keys`. It must be at least the number of tokens of the longest sequence.
override keys_held: u32 = 2048u;
// One word for each visible key. Each pass over the keys overwrites it; after the last pass, it is the key's weight.
var<workgroup> keys: array<u32, keys_held>;
// For each block of 32 keys, the shift of their weights: a weight is the integer in `keys` times 2^shift.
var<workgroup> shifts: array<u32, 64>;

// Returns four features of the weighted sum over the first `count` keys, in units of 2^left: the features in word `word`
// of a row. The sum over each block of 32 keys is exact, with a magnitude ≤ 2^14 · 2^14 · 32. It is multiplied by
// 2^(shift − left), where `shift` is the block's entry in `shifts`, and the result is added to the total. The row of the
// first key starts at vector `start` of the buffer, and the next key's row starts `stride` vectors later.
fn weighted_sum(start: u32, stride: u32, count: u32, word: u32, left: i32) -> Sums64 {
    let vectors = plane_vectors(params.head_dim);
    var total = Sums64();
    for (var block = 0u; block < count; block += 32u) {
        var high = vec4(0i); // |.| ≤ 2^14 · 2^6 · 32
        var low = vec4(0i); // |.| ≤ 2^14 · 2^7 · 32
        for (var i = block; i < min(block + 32u, count); i++) {
            let vector = start + i * stride + (word >> 2u);
            let weight = bitcast<i32>(keys[i]);
            high += weight * bytes_of(summed_word(vector, word & 3u));
            low += weight * bytes_of(summed_word(vector + vectors, word & 3u));
        }
        add_block(&total, high, low, bitcast<i32>(shifts[block >> 5u]) - left);
    }
    return total;
}
