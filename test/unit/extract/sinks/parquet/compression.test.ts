import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zstdDecompressSync } from 'node:zlib'
import { codecFor } from '../../../../../src/extract/sinks/parquet/compression.ts'
import { Chance } from '../../../../support/fuzz.ts'

test('pages that are given back free their memory, and the others keep their content', async () => {
  using codec = codecFor('zstd')
  const chance = new Chance(20_263)
  const page = (): Uint8Array => chance.bytes(50_000 + chance.below(200_000))
  const kept: { readonly from: Uint8Array; readonly parts: readonly Uint8Array[] }[] = []
  for (let round = 0; round < 6; round++) {
    const pages = Array.from({ length: 12 }, page)
    const compressed = await Promise.all(pages.map((bytes) => codec.compress(bytes)))
    // One page of each round outlives it.
    kept.push({ from: pages[0] as Uint8Array, parts: compressed[0] as readonly Uint8Array[] })
    codec.release([...compressed.slice(1).flat(), Buffer.from('not a page')])
    for (const { from, parts } of kept) assert.deepEqual(zstdDecompressSync(Buffer.concat(parts)), Buffer.from(from))
  }
  const all = kept.flatMap(({ parts }) => parts)
  codec.release(all)
  // Two compressors may write to their rooms again.
  const left = new Set(all.filter(({ byteLength }) => byteLength > 0).map(({ buffer }) => buffer))
  assert.ok(left.size <= 2, `${left.size} rooms are left`)
})
