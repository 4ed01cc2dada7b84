import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { PoolsmithError } from '../../../errors.ts'
import type { ParquetCompression } from '../format.ts'

/** Compresses pages off the event loop. Disposing it frees its memory; a call that still runs may never settle. */
export interface Codec extends Disposable {
  /** parquet.thrift, CompressionCodec. */
  readonly id: number
  /** The result, in order, belongs to the caller. The input must not change until then. */
  compress(bytes: Uint8Array): Promise<readonly Uint8Array[]>
  /** Results that are not read any more; other bytes among them stay. Called while nothing is being compressed. */
  release(parts: readonly Uint8Array[]): void
}

/** Node has zstd from 22.15 and 23.8 on. */
const hasZstd = typeof zlib.zstdCompress === 'function'

/**
 * The codec of a name, at level 1: higher levels take more time than they save space here.
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
        // Room for the longest result, so that one call of the thread pool is enough. It is freed after the call.
        compress: async (bytes) => [
          new Uint8Array(await compress(bytes, { level: 1, chunkSize: bytes.length + (bytes.length >> 7) + 64 })),
        ],
        release: () => undefined,
        [Symbol.dispose]: () => undefined,
      }
    }
    case 'none':
      return {
        id: 0,
        compress: async (bytes) => [new Uint8Array(bytes)],
        release: () => undefined,
        [Symbol.dispose]: () => undefined,
      }
  }
}

/** How many threads of Node's pool (four by default) compress at once: files and host names need threads too. */
const COMPRESSORS = 2
/** The memory that a compressor allocates at once; pages lie in it one after the other. */
const ROOM_BYTES = 1 << 20

/**
 * A frame for each page, from compressors that are kept. A new compressor for each page costs a megabyte of memory each
 * time, which V8's collector counts: it ran for a quarter of the whole extract.
 */
class Zstd implements Codec {
  readonly id = 6
  readonly #compressors: Compressor[] = []
  readonly #idle: Compressor[] = []
  readonly #waiting: ((compressor: Compressor) => void)[] = []
  /** How many parts lie in a room. */
  readonly #held = new Map<ArrayBufferLike, number>()

  async compress(bytes: Uint8Array): Promise<readonly Uint8Array[]> {
    const compressor = this.#idle.pop() ?? this.#another() ?? (await this.#next())
    try {
      const parts = await compressor.frame(bytes)
      for (const { buffer } of parts) this.#held.set(buffer, (this.#held.get(buffer) ?? 0) + 1)
      return parts
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#idle.push(compressor)
      else next(compressor)
    }
  }

  /** Frees rooms at once, since V8 would collect garbage because of them: 13 times instead of 2 for two million rows. */
  release(parts: readonly Uint8Array[]): void {
    const held = this.#held
    for (const { buffer } of parts) {
      const count = held.get(buffer)
      if (count !== undefined) held.set(buffer, count - 1)
    }
    for (const [room, count] of held) {
      if (count > 0 || this.#compressors.some((compressor) => compressor.room === room)) continue
      held.delete(room)
      if (room instanceof ArrayBuffer) room.transfer(0)
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
      // 128 KiB fit into the processor's cache: nearly twice as fast as the level's own window, for 2 % more bytes.
      [zlib.constants.ZSTD_c_windowLog]: 17,
    },
  })
  #parts: Uint8Array[] = []
  /** The last one that it has written to, and may write to again. */
  room: ArrayBufferLike | undefined

  constructor() {
    this.#stream.on('data', (part: Buffer) => {
      this.#parts.push(part)
      this.room = part.buffer
    })
    // The caller of write gets the error.
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
