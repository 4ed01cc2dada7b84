/** Names that were probably meant by one that is unknown, and how a message suggests them. */

/** A longer word is no slip of a name of ours, and comparing it would take long. */
const LONGEST = 200
const MOST = 3

/**
 * The candidate that `word` was probably meant to be, if any: the same but for case and separators, or one slip away
 * (a letter too many, too few, wrong, or two swapped).
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > LONGEST) return undefined
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

/**
 * The candidates that are spelled like the name, nearest first; at most three. For names that people choose (tables,
 * connections), where {@link nearest} would be too strict.
 */
export function nearNames(name: string, candidates: Iterable<string>): string[] {
  if (name.length > LONGEST) return []
  const wanted = name.toLowerCase()
  const limit = Math.max(1, Math.floor(wanted.length / 3))
  return [...candidates]
    .map((candidate) => ({ candidate, distance: nameDistance(wanted, candidate.toLowerCase(), limit) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, MOST)
    .map(({ candidate }) => candidate)
}

/** One when a name contains the other, else the number of letters to add, leave out or change. */
function nameDistance(a: string, b: string, limit: number): number {
  if (a === b) return 0
  if (Math.min(a.length, b.length) > 2 && (a.includes(b) || b.includes(a))) return 1
  if (Math.abs(a.length - b.length) > limit) return Number.POSITIVE_INFINITY
  let above = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row += 1) {
    const line = [row]
    for (let column = 1; column <= b.length; column += 1) {
      const change = (above[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1)
      line.push(Math.min(change, (above[column] as number) + 1, (line[column - 1] as number) + 1))
    }
    above = line
  }
  return above[b.length] as number
}

/** The end of a sentence, `did you mean sslmode?`; undefined without candidates. */
export function didYouMean(
  candidates: readonly string[],
  quote: (name: string) => string = (name) => name,
): string | undefined {
  return candidates.length === 0 ? undefined : `did you mean ${candidates.map(quote).join(' or ')}?`
}

/** A sentence of its own after another one, ` Did you mean "flights"?`; empty without candidates. */
export function didYouMeanSentence(candidates: readonly string[], quote?: (name: string) => string): string {
  const end = didYouMean(candidates, quote)
  return end === undefined ? '' : ` ${end[0]?.toUpperCase()}${end.slice(1)}`
}
