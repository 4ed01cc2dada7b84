const MOST = 3

/** The candidates that are spelled like the name, nearest first; at most three. */
export function nearNames(name: string, candidates: readonly string[]): string[] {
  const wanted = name.toLowerCase()
  const limit = Math.max(1, Math.floor(wanted.length / 3))
  return candidates
    .map((candidate) => ({ candidate, distance: nameDistance(wanted, candidate.toLowerCase()) }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, MOST)
    .map(({ candidate }) => candidate)
}

/** One when a name contains the other, else the number of letters to add, leave out or change. */
function nameDistance(a: string, b: string): number {
  if (a === b) return 0
  if (Math.min(a.length, b.length) > 2 && (a.includes(b) || b.includes(a))) return 1
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
