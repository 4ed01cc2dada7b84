import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { PoolsmithError } from '../../../errors.ts'
import type { ParquetCompression } from '../../options.ts'

/** Compresses pages, off the event loop. Disposed, it gives its memory back; a call that still runs may never settle. */
export interface Codec extends Disposable {
  /** parquet.thrift, CompressionCodec. */
  readonly id: number
  /** What comes out, in order, is the caller's own; what goes in must stay as it is until then. */
  compress(bytes: Uint8Array): Promise<readonly Uint8Array[]>
}

/** Node 22.15 and 23.8 brought zstd. */
const hasZstd = typeof zlib.zstdCompress === 'function'

/**
 * The codec of a name, level 1: the higher ones cost more time than they save space here.
 * Without a name: zstd, or gzip on a Node that has none.
 */
export function codecFor(name: ParquetCompression = hasZstd ? 'zstd' : 'gzip'): Codec {
  switch (name) {
    case 'zstd':
      if (hasZstd) return new Zstd()
      throw new PoolsmithError(`Node ${process.versions.node} has no zstd.`, {
        code: 'CONFIG_INVALID',
        phase: 'config',
        hint: "Use Node 22.15 or later, or compression: 'gzip'.",
      })
    case 'gzip': {
      const compress = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gzip)
      return {
        id: 2,
        // Room for all that can come out, so that one call of the thread pool does it, and not kept longer than that.
        compress: async (bytes) => [
          new Uint8Array(await compress(bytes, { level: 1, chunkSize: bytes.length + (bytes.length >> 7) + 64 })),
        ],
        [Symbol.dispose]: () => undefined,
      }
    }
    case 'none':
      return { id: 0, compress: async (bytes) => [new Uint8Array(bytes)], [Symbol.dispose]: () => undefined }
  }
}

/** Threads of Node's pool (four by default) that may be at it at once: files and names need some of them too. */
const COMPRESSORS = 2
/** What a compressor makes room for at once; pages lie in it one after the other. */
const ROOM_BYTES = 1 << 20

/**
 * A frame for each page from compressors that stay: a new one for each page costs a megabyte of memory each time, and
 * V8's collector, which counts it, ran for a quarter of the whole extract.
 */
class Zstd implements Codec {
  readonly id = 6
  readonly #compressors: Compressor[] = []
  readonly #idle: Compressor[] = []
  readonly #waiting: ((compressor: Compressor) => void)[] = []

  async compress(bytes: Uint8Array): Promise<readonly Uint8Array[]> {
    const compressor = this.#idle.pop() ?? this.#another() ?? (await this.#next())
    try {
      return await compressor.frame(bytes)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#idle.push(compressor)
      else next(compressor)
    }
  }

  #another(): Compressor | undefined {
    if (this.#compressors.length === COMPRESSORS) return undefined
    const made = new Compressor()
    this.#compressors.push(made)
    return made
  }

  #next(): Promise<Compressor> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  [Symbol.dispose](): void {
    for (const compressor of this.#compressors) compressor[Symbol.dispose]()
  }
}

class Compressor implements Disposable {
  readonly #stream = zlib.createZstdCompress({
    chunkSize: ROOM_BYTES,
    // Every write is a frame of its own.
    flush: zlib.constants.ZSTD_e_end,
    params: {
      [zlib.constants.ZSTD_c_compressionLevel]: 1,
      // 128 KiB stay in the processor's cache: nearly twice as fast as the level's own window, for 2 % more bytes.
      [zlib.constants.ZSTD_c_windowLog]: 17,
    },
  })
  #parts: Uint8Array[] = []

  constructor() {
    this.#stream.on('data', (part: Buffer) => this.#parts.push(part))
    // Who writes hears of it.
    this.#stream.on('error', () => undefined)
  }

  frame(bytes: Uint8Array): Promise<readonly Uint8Array[]> {
    return new Promise((resolve, reject) => {
      this.#stream.write(bytes, (error) => {
        if (error != null) reject(error)
        else resolve(this.#parts)
        this.#parts = []
      })
    })
  }

  [Symbol.dispose](): void {
    this.#stream.destroy()
  }
}
