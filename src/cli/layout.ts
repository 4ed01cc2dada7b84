/** Text for people: rows of labels and values, wrapped to the terminal; times and sizes in words. */

/** Breaks a text at spaces so that no line is longer than `width`, where a word itself is not. */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    if (paragraph.length <= width) return [paragraph]
    const indent = /^\s*/.exec(paragraph)?.[0] ?? ''
    const lines: string[] = []
    let line = ''
    for (const word of paragraph.trim().split(/ +/)) {
      if (line === '') line = indent + word
      else if (line.length + 1 + word.length <= width) line += ` ${word}`
      else {
        lines.push(line)
        line = indent + word
      }
    }
    return [...lines, line]
  })
}

/** Labelled values below each other, the values aligned. Rows without a value are left out. */
export function rows(entries: readonly (readonly [string, string | undefined])[], width: number): string {
  const present = entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined)
  const labelWidth = Math.max(0, ...present.map(([label]) => label.length)) + 2
  return present
    .flatMap(([label, value]) =>
      wrap(value, width - labelWidth - 2).map(
        (line, index) => `  ${(index === 0 ? label : '').padEnd(labelWidth)}${line}`,
      ),
    )
    .join('\n')
}

/** `8 ms`, `1.4 s`, `3 min 20 s`. */
export function duration(millis: number): string {
  if (millis < 1000) return `${Math.round(millis)} ms`
  if (millis < 60_000) return `${(millis / 1000).toFixed(1)} s`
  const seconds = Math.round(millis / 1000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

const STEPS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const

/** A point in time, and how far from now: `2026-01-31 09:00:00Z (in 14 minutes)`. Milliseconds since the epoch. */
export function moment(at: number, now: number = Date.now()): string {
  const away = Math.abs(at - now)
  const [unit, size] = STEPS.find(([, millis]) => away >= 2 * millis) ?? ['second', 1000]
  const count = Math.round(away / size)
  const words = `${count} ${unit}${count === 1 ? '' : 's'}`
  const stamp = new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')
  return `${stamp} (${at >= now ? `in ${words}` : `${words} ago`})`
}

/** `640 B`, `1.5 MB`: decimal units. */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = count / 1000
  let unit = 0
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value.toFixed(1)} ${units[unit]}`
}

/** `1,234,567` */
export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
