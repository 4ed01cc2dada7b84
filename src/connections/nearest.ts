import { LONGEST_KEY } from './limits.ts'

/**
 * The candidate that `word` was probably meant to be, if any: the same but for case and separators, or one slip away
 * (a letter too many, too few, wrong, or two swapped).
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > LONGEST_KEY) return undefined
  const plain = (value: string): string => value.toLowerCase().replaceAll(/[-_. ]/g, '')
  const all = [...candidates]
  const [plainWord, lowerWord] = [plain(word), word.toLowerCase()]
  return (
    all.find((candidate) => plain(candidate) === plainWord) ??
    all.find((candidate) => oneSlip(lowerWord, candidate.toLowerCase()))
  )
}

function oneSlip(a: string, b: string): boolean {
  if (a === b || Math.abs(a.length - b.length) > 1) return false
  if (Math.min(a.length, b.length) < 3) return false
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let endA = a.length - 1
  let endB = b.length - 1
  while (endA >= start && endB >= start && a[endA] === b[endB]) {
    endA--
    endB--
  }
  const left = a.slice(start, endA + 1)
  const right = b.slice(start, endB + 1)
  if (left.length <= 1 && right.length <= 1) return true
  return left.length === 2 && right.length === 2 && left[0] === right[1] && left[1] === right[0]
}
