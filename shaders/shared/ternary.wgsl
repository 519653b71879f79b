// Block words of ternary matrices; see src/ternary.rs.

// Words of a byte row: width padded to 32.
fn row_words(width: u32) -> u32 {
    return ((width + 31u) >> 5u) << 3u;
}

// Transposes a 4×4 block of 2-bit codes by two delta swaps.
fn transpose_block(word: u32) -> u32 {
    var swap = ((word >> 6u) ^ word) & 0x00CC00CCu;
    let half = word ^ swap ^ (swap << 6u);
    swap = ((half >> 12u) ^ half) & 0x0000F0F0u;
    return half ^ swap ^ (swap << 12u);
}
