import { readFileSync } from 'node:fs'

/** The version in package.json, which lies one folder up in the sources and in the package alike. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/** The version, or empty text in a bundle, which has no package.json beside it. */
export function versionOf(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}
