/** The reference page of one door of the package: what it exports, as the doc comments of the sources describe it. */

import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

interface Exported {
  readonly name: string
  readonly kind: 'class' | 'const' | 'function' | 'interface' | 'type'
  /** Relative to the sources. */
  readonly file: string
  readonly text: string
  readonly tags: readonly Tag[]
}

interface Tag {
  readonly name: string
  readonly text: string
}

/** The lines of a doc comment, without its stars. */
function linesOf(comment: string): string[] {
  return comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
}

function parseComment(comment: string): { readonly text: string; readonly tags: Tag[] } {
  const [text = '', ...tags] = linesOf(comment)
    .join('\n')
    .split(/\n@(?=\w)/)
  return {
    text: prose(text),
    tags: tags.map((tag) => {
      const [, name = '', rest = ''] = /^(\w+)\s*(.*)$/s.exec(tag) ?? []
      return { name, text: name === 'example' ? rest.trim() : prose(rest) }
    }),
  }
}

function prose(text: string): string {
  return text.replaceAll(/\{@link ([\w.]+)\}/g, '`$1`').trim()
}

/** Finds a declaration, also behind files that re-export it. */
function find(name: string, file: string, root: string): Exported {
  const source = readFileSync(file, 'utf8')
  const declaration = new RegExp(
    `(?:(/\\*\\*(?:(?!\\*/).)*\\*/)\\s*(?:// [^\\n]*\\n)?)?^export (?:declare |abstract |async )*(class|const|function|interface|type)[ *]+${name}\\b`,
    'ms',
  ).exec(source)
  if (declaration !== null) {
    const [, comment, kind = ''] = declaration
    if (comment === undefined) throw new Error(`${relative(root, file)}: ${name} is public and has no doc comment.`)
    return { name, kind: kind as Exported['kind'], file: relative(root, file), ...parseComment(comment) }
  }
  // An import counts: a file may import a name and export it later.
  for (const { names, from } of namesFrom(source, '(?:export|import)')) {
    if (names.includes(name)) return find(name, join(dirname(file), from), root)
  }
  for (const [, from = ''] of source.matchAll(/^export (?:type )?\* from '(\.[^']+)'/gm)) {
    const other = join(dirname(file), from)
    if (new RegExp(`^export .*\\b${name}\\b`, 'm').test(readFileSync(other, 'utf8'))) return find(name, other, root)
  }
  throw new Error(`${relative(root, file)} does not export ${name}.`)
}

/** The names between braces of each such statement about a file of ours. */
function namesFrom(source: string, keyword: string): { readonly names: string[]; readonly from: string }[] {
  const statement = new RegExp(`^${keyword} (?:type )?\\{([^}]*)\\} from '(\\.{1,2}/[^']+)'`, 'gm')
  return [...source.matchAll(statement)].map(([, names = '', from = '']) => ({
    names: names
      .split(',')
      .map((name) => name.trim().replace(/^type /, ''))
      .filter((name) => name !== ''),
    from,
  }))
}

const TAGS: Readonly<Record<string, string>> = { param: 'Parameter', returns: 'Returns', throws: 'Throws' }

function valueSection({ name, kind, text, tags }: Exported): string {
  const heading = kind === 'function' ? `${name}()` : kind === 'class' ? `class ${name}` : name
  const parts = [`### ${heading}`, text]
  const facts = tags.flatMap((tag) => {
    const label = TAGS[tag.name]
    if (label === undefined) return []
    const words = tag.name === 'param' ? tag.text.replace(/^(\S+)/, '`$1`:') : tag.text
    return [`- ${label} ${words.replaceAll(/\s*\n\s*/g, ' ')}`]
  })
  if (facts.length > 0) parts.push(facts.join('\n'))
  const example = tags.find((tag) => tag.name === 'example')
  if (example !== undefined) parts.push(`\`\`\`ts\n${example.text}\n\`\`\``)
  return parts.join('\n\n')
}

function typeLine({ name, text }: Exported): string {
  const [first = ''] = text.split('\n\n')
  return `| \`${name}\` | ${first.replaceAll(/\s*\n\s*/g, ' ').replaceAll('|', '\\|')} |`
}

/**
 * @param door the name that programs import, such as `poolsmith/pg`
 * @param guide the page that shows it at work, where there is one
 */
export function apiReference(door: string, index: string, guide: string | undefined, note: string): string {
  const root = join(import.meta.dirname, '..')
  const source = readFileSync(index, 'utf8')
  const about = parseComment(/^\/\*\*.*?\*\//s.exec(source)?.[0] ?? '').text.replace(/^[^:]*: /, '')
  const exported = namesFrom(source, 'export')
    .flatMap(({ names, from }) => names.map((name) => find(name, join(dirname(index), from), root)))
    .sort((a, b) => a.name.localeCompare(b.name, 'en'))
  const values = exported.filter(({ kind }) => kind !== 'interface' && kind !== 'type')
  const types = exported.filter(({ kind }) => kind === 'interface' || kind === 'type')
  return [
    `# \`${door}\``,
    note,
    `${about[0]?.toUpperCase()}${about.slice(1)}${guide === undefined ? '' : ` [${guide}](../${guide}) shows it at work.`}`,
    ...(values.length === 0 ? [] : ['## Functions, classes and constants', ...values.map(valueSection)]),
    ...(types.length === 0 ? [] : ['## Types', ['| Type | |', '| --- | --- |', ...types.map(typeLine)].join('\n')]),
  ].join('\n\n')
}
