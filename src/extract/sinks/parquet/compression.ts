import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { PoolsmithError } from '../../../errors.ts'

export const PARQUET_COMPRESSIONS = ['zstd', 'gzip', 'none'] as const
export type ParquetCompression = (typeof PARQUET_COMPRESSIONS)[number]

export interface Codec {
  /** parquet.thrift, CompressionCodec. */
  readonly id: number
  /** @param expected about how many bytes will come out, where that is known; what comes out is the caller's own */
  compress(bytes: Uint8Array, expected?: number): Promise<Uint8Array>
}

/** Node 22.15 and 23.8 brought zstd. */
const hasZstd = typeof zlib.zstdCompress === 'function'

/**
 * The codec of a name, on Node's own thread pool, level 1: the higher ones cost more time than they save space here.
 * Without a name: zstd, or gzip on a Node that has none.
 */
export function codecFor(name: ParquetCompression = hasZstd ? 'zstd' : 'gzip'): Codec {
  switch (name) {
    case 'zstd': {
      if (!hasZstd) {
        throw new PoolsmithError(`Node ${process.versions.node} has no zstd.`, {
          code: 'CONFIG_INVALID',
          phase: 'config',
          hint: "Use Node 22.15 or later, or compression: 'gzip'.",
        })
      }
      const compress = promisify<Uint8Array, zlib.ZstdOptions, Buffer>(zlib.zstdCompress)
      const params = {
        [zlib.constants.ZSTD_c_compressionLevel]: 1,
        // 128 KiB stay in the processor's cache: nearly twice as fast as the level's own window, for 2 % more bytes.
        [zlib.constants.ZSTD_c_windowLog]: 17,
      }
      return {
        id: 6,
        compress: async (bytes, expected) =>
          trim(await compress(bytes, { params, chunkSize: roomFor(bytes, expected) })),
      }
    }
    case 'gzip': {
      const compress = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gzip)
      return {
        id: 2,
        compress: async (bytes, expected) =>
          trim(await compress(bytes, { level: 1, chunkSize: roomFor(bytes, expected) })),
      }
    }
    case 'none':
      return { id: 0, compress: async (bytes) => new Uint8Array(bytes) }
    default:
      throw new PoolsmithError(`There is no compression ${JSON.stringify(name)} for Parquet.`, {
        code: 'CONFIG_INVALID',
        phase: 'config',
        hint: `Use one of ${PARQUET_COMPRESSIONS.join(', ')}.`,
      })
  }
}

/**
 * Room for what comes out, so that one call of the thread pool does it; Node's default is many of 16 KiB. A little more
 * than is expected: too little costs a second call, too much costs the collector.
 */
function roomFor(bytes: Uint8Array, expected = bytes.length): number {
  const most = bytes.length + (bytes.length >> 7) + 64
  return Math.max(1024, Math.min(most, expected + (expected >> 4) + 64))
}

/** Without the room that was not needed: a page waits long enough for that to matter. */
function trim(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength > bytes.length * 1.25 ? new Uint8Array(bytes) : bytes
}
