/** CSV as COPY writes it: a message for each row, to which the columns that are the same in all rows are added. */

import type { CopyConsumer } from '../../../drivers/postgres/copy.ts'
import { PoolsmithError } from '../../../errors.ts'
import { copyBytes, putBytes, type Viewed, viewed } from '../columns/copy-bytes.ts'
import type { Lines } from '../table.ts'
import { LineBlocks } from '../text/line-blocks.ts'

const NEWLINE = 0x0a

export class CsvLines implements CopyConsumer<Lines> {
  readonly #suffix: Viewed
  readonly #blocks = new LineBlocks()
  #chunk: Buffer | undefined
  #from: Viewed

  /** @param suffix ends each row, a newline included */
  constructor(suffix: string) {
    this.#suffix = viewed(Buffer.from(suffix))
    this.#from = this.#suffix
  }

  data(chunk: Buffer, start: number, end: number): void {
    if (chunk[end - 1] !== NEWLINE) {
      throw new PoolsmithError("The server's text copy cannot be understood: a message is not a whole row.", {
        code: 'EXTRACT_PROTOCOL',
        phase: 'query',
        hint: 'A proxy on the way cuts the rows in another way; use format parquet.',
      })
    }
    if (chunk !== this.#chunk) {
      this.#chunk = chunk
      this.#from = viewed(chunk)
    }
    const blocks = this.#blocks
    const suffix = this.#suffix
    const length = end - 1 - start
    blocks.reserve(length + suffix.buffer.length)
    copyBytes(this.#from, start, end - 1, blocks.block, blocks.used)
    blocks.used = putBytes(suffix, blocks.block, blocks.used + length)
    blocks.endLine()
  }

  flush(): Lines[] {
    this.#chunk = undefined
    return this.#blocks.take()
  }

  end(): Lines[] {
    return this.#blocks.end()
  }

  reuse(lines: Lines): void {
    this.#blocks.reuse(lines)
  }
}
