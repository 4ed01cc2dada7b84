/** The TypeScript in README.md and docs/ is what the package takes: every block goes through a strict compiler. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { glob, readFile, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/folder.ts'

const ROOT = join(import.meta.dirname, '..', '..')

/** The names that a block may leave out: an import of ours, and the reader's own. */
const READERS_OWN = `
type Credential = import('poolsmith').Credential
declare const db: import('poolsmith').Engine
declare const log: Record<'info' | 'warn', (...words: unknown[]) => void>
declare const logs: { getLogger(name: string): import('poolsmith/audit').OpenTelemetryLogger }
declare const metrics: { count(name: string, labels: Record<string, string>): void }
declare const app: {
  use(handler: (request: { id: string; user: { name: string } }, response: unknown, next: () => void) => void): void
}
declare const known: ReadonlyMap<string, string>
declare const carrier: string, password: string, since: Date, url: string
interface Database {
  flights: { carrier: string }
}
declare const send: (batch: unknown) => Promise<void>
declare const startAndAwaitTasks: (plan: string) => Promise<void>
declare const passwordFrom: (path: string | undefined, signal: AbortSignal) => Promise<Credential>
declare const fetchOverNodeHttps: (
  url: string,
  options: { agent: import('node:https').Agent | undefined; signal: AbortSignal },
) => Promise<Credential>
declare const driver: import('poolsmith').Driver<import('pg').Client>
declare const source: import('poolsmith').CredentialSource
declare const pool: Awaited<ReturnType<typeof import('poolsmith/pg').createPgPool>>
declare const vault: {
  lease(path: string, options: { signal: AbortSignal }): Promise<{ password: string; seconds: number }>
}
declare namespace pg {
  type Client = import('pg').Client
}
`

/** The names of the reference pages, and `readFile`, `createReadStream` and the like: the import of such a name may be left out. */
async function importsByName(): Promise<ReadonlyMap<string, string>> {
  const found = new Map([
    ['readFile', 'node:fs/promises'],
    ['writeFile', 'node:fs/promises'],
    ['Kysely', 'kysely'],
    ['createReadStream', 'node:fs'],
  ])
  for await (const page of glob('docs/api/*.md', { cwd: ROOT })) {
    const text = await readFile(join(ROOT, page), 'utf8')
    const door = /^# `(.*)`/.exec(text)?.[1] ?? ''
    for (const [, name = ''] of text.matchAll(/^### (?:class )?(\w+)/gm)) found.set(name, door)
  }
  return found
}

/** The block with the imports that it leaves out. */
function completed(block: string, imports: ReadonlyMap<string, string>): string {
  const missing = [...imports].filter(
    ([name]) =>
      new RegExp(`(?<![.'\\w])${name}\\b(?!:)`).test(block) && !new RegExp(`^import .*\\b${name}\\b`, 'm').test(block),
  )
  return [...missing.map(([name, from]) => `import { ${name} } from '${from}'`), block].join('\n')
}

/** Where a block that shows one option alone belongs. */
const CALLS: Readonly<Record<string, (fragment: string) => string>> = {
  credentials: (fragment) =>
    `defineStrategy({ name: 'own', dialects: ['postgres'], description: '', fields: {}, ${fragment}})`,
  extra: (fragment) => `await createEngine({ type: 'mssql', ${fragment}})`,
  watermark: (fragment) => `await extractTable(db, { table: 't' }, { to: '.', format: 'csv', ${fragment}})`,
  where: (fragment) => `await extractTable(db, { table: 't' }, { to: '.', format: 'csv', ${fragment}})`,
}

test('every example of the documentation compiles', async () => {
  await using folder = await temporaryFolder()
  await symlink(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'))
  await writeFile(join(folder.path, 'readers-own.d.ts'), READERS_OWN)
  await writeFile(join(folder.path, 'package.json'), '{ "type": "module" }')
  const examples: string[] = []
  const imports = await importsByName()
  for await (const page of glob(['README.md', 'docs/*.md', 'docs/api/*.md'], { cwd: ROOT })) {
    const text = await readFile(join(ROOT, page), 'utf8')
    for (const [, block = ''] of text.matchAll(/^```ts\n(.*?)^```$/gms)) {
      // The package mssql has no types of its own.
      if (block.includes("from 'mssql'")) continue
      const place = CALLS[/^(\w+):/.exec(block)?.[1] ?? '']
      // Files of one program name each other.
      const [, name] = /^\/\/ (\w+\.ts)\n/.exec(block) ?? []
      const file = name ?? `${basename(page, '.md')}-${examples.length}.mts`
      const whole = completed(place?.(`\n${block}`) ?? block, imports)
      await writeFile(join(folder.path, file), `${whole}\nexport {}\n`)
      examples.push(file)
    }
  }
  assert.ok(examples.length > 20, `${examples.length} examples were found`)
  const configuration = {
    extends: join(ROOT, 'tsconfig.json'),
    compilerOptions: {
      noUnusedLocals: false,
      noUnusedParameters: false,
    },
    include: [join(folder.path, '*.*ts'), join(ROOT, 'src', '**', '*.d.ts')],
  }
  await writeFile(join(folder.path, 'tsconfig.json'), JSON.stringify(configuration))
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
  const { status, stdout } = spawnSync(tsc, ['-p', folder.path], { cwd: folder.path, encoding: 'utf8' })
  assert.equal(status, 0, stdout)
})
