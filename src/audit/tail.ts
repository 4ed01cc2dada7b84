/** The end of a file of the audit log, as a writer finds it. */

import { fstatSync, readSync } from 'node:fs'
import { lineHash } from './chain.ts'

/** No line of ours is longer. */
export const LONGEST_LINE = 1 << 19

export interface Tail {
  /** The hash of the last line; null in an empty file. */
  readonly hash: string | null
  /** Whether that line is not whole: its writer, or the machine, ended while it was written. */
  readonly isTorn: boolean
  /** Whether a line break must be written before the next line. */
  readonly needsBreak: boolean
}

export function readTail(fd: number): Tail {
  const { size } = fstatSync(fd)
  const length = Math.min(size, LONGEST_LINE)
  const buffer = Buffer.alloc(length)
  let read = 0
  while (read < length) {
    const bytes = readSync(fd, buffer, read, length - read, size - length + read)
    if (bytes === 0) break
    read += bytes
  }
  const bytes = buffer.subarray(0, read)
  if (bytes.length === 0) return { hash: null, isTorn: false, needsBreak: false }
  const needsBreak = bytes.at(-1) !== LINE_BREAK
  const end = needsBreak ? bytes.length : bytes.length - 1
  const line = bytes.subarray(bytes.lastIndexOf(LINE_BREAK, end - 1) + 1, end)
  return { hash: lineHash(line), isTorn: !isWhole(line), needsBreak }
}

const LINE_BREAK = 0x0a

function isWhole(line: Uint8Array): boolean {
  try {
    JSON.parse(Buffer.from(line).toString())
    return true
  } catch {
    return false
  }
}
