<#
.SYNOPSIS
Mines on Windows: checks what a build needs, builds the miner in release mode, and runs `r3mes-wgpu mine`.

.DESCRIPTION
Passes every argument to `r3mes-wgpu mine`; `scripts\mine.ps1 --help` prints the miner's help. The script installs
nothing: it prints what is missing and how to install it. It has not been run on Windows yet.
#>
$ErrorActionPreference = 'Stop'
$root = Split-Path -Parent $PSScriptRoot
$manifest = Join-Path $root 'Cargo.toml'

if (-not (Get-Command cargo -ErrorAction SilentlyContinue)) {
    Write-Error ('Rust is missing. Install it with: winget install Rustlang.Rustup  (or from https://rustup.rs). ' +
        'It needs the C++ build tools: winget install Microsoft.VisualStudio.2022.BuildTools')
    exit 1
}
$wanted = [version]((Select-String -Path $manifest -Pattern '^rust-version = "(.+)"').Matches[0].Groups[1].Value)
$found = [version]((rustc --version) -replace '^rustc (\d+\.\d+).*', '$1')
if ($found -lt $wanted) {
    Write-Error "Rust $wanted or later is needed, found $found. Run: rustup update stable"
    exit 1
}

cargo build --release --manifest-path $manifest -p r3mes-wgpu
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
$target = if ($env:CARGO_TARGET_DIR) { $env:CARGO_TARGET_DIR } else { Join-Path $root 'target' }
& (Join-Path $target 'release/r3mes-wgpu.exe') mine @args
exit $LASTEXITCODE
