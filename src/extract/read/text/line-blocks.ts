import { type Viewed, viewed } from '../columns/copy-bytes.ts'
import type { Lines } from '../table.ts'

/** Bytes that are gathered before they go on to the file. */
const BLOCK_BYTES = 1 << 20
/** One block is filled, one waits to be written, and one is written. */
const MOST_SPARE = 2

/** Lines that are written one after the other into large blocks, which can be filled again. */
export class LineBlocks {
  /** Write into it from {@link used} on, as far as {@link reserve} has made room. */
  block: Viewed = viewed(Buffer.allocUnsafeSlow(BLOCK_BYTES))
  used = 0
  #begun = 0
  #rows = 0
  #ready: Lines[] = []
  readonly #spare: Viewed[] = []

  /** Makes room for this many bytes; the line that has begun may move to another block. */
  reserve(bytes: number): void {
    if (this.used + bytes <= this.block.buffer.length) return
    const begun = this.block.buffer.subarray(this.#begun, this.used)
    this.#close()
    this.#open(begun.length + bytes)
    begun.copy(this.block.buffer)
    this.used = begun.length
  }

  endLine(): void {
    this.#rows += 1
    this.#begun = this.used
  }

  #close(): void {
    if (this.#rows > 0) this.#ready.push({ bytes: this.block.buffer.subarray(0, this.#begun), rows: this.#rows })
    this.#begun = 0
    this.#rows = 0
  }

  #open(room: number): void {
    const spare = this.#spare.pop()
    const fits = spare !== undefined && spare.buffer.length >= room
    // A long line grows by doubling.
    this.block = fits ? spare : viewed(Buffer.allocUnsafeSlow(room > BLOCK_BYTES >> 1 ? room * 2 : BLOCK_BYTES))
  }

  /** The blocks that are full. */
  take(): Lines[] {
    const ready = this.#ready
    if (ready.length > 0) this.#ready = []
    return ready
  }

  /** All blocks; nothing may be written afterwards. */
  end(): Lines[] {
    this.#close()
    return this.take()
  }

  /** These lines are not read any more: their memory may be filled again. */
  reuse({ bytes }: Lines): void {
    if (this.#spare.length < MOST_SPARE) this.#spare.push(viewed(new Uint8Array(bytes.buffer)))
  }
}
