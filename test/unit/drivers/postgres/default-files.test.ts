/** libpq's default files where this process may not see them. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '..', '..', '..', '..')

/** Loads the files twice under Node's permission model, which lets the process read this repository alone. */
async function loadTwice(extra: object): Promise<{ readonly loads: unknown[]; readonly events: unknown[] }> {
  const program = `
    import { parseFields } from './src/connections/fields.ts'
    import { postgresFields } from './src/drivers/postgres/options.ts'
    import { TlsSettings } from './src/drivers/postgres/tls-settings.ts'
    const events = []
    const emit = (name, payload) => events.push({ name, ...payload })
    const { values } = parseFields(postgresFields, ${JSON.stringify(extra)}, { path: 'extra', strict: true })
    const tls = new TlsSettings(values, { emit, home: '/nonexistent/home' })
    const load = () => tls.load({ kind: 'password' }).then(({ verify }) => verify, ({ code, message, hint }) => ({ code, message, hint }))
    console.log(JSON.stringify({ loads: [await load(), await load()], events }))`
  const args = ['--permission', `--allow-fs-read=${ROOT}`, '--input-type=module', '-e', program]
  return JSON.parse((await promisify(execFile)(process.execPath, args, { cwd: ROOT })).stdout)
}

test('they count as missing, and one warning says what that costs', async () => {
  const { loads, events } = await loadTwice({ sslmode: 'prefer' })
  assert.deepEqual(loads, ['none', 'none'])
  assert.deepEqual(events, [
    {
      name: 'security:warning',
      code: 'CA_FILE_UNREADABLE',
      message:
        "The root certificate file /nonexistent/home/.postgresql/root.crt may not be read: Node's permission model " +
        'restricts this process. No certificate of a server is verified by it.',
    },
  ])
})

test('where the authorities are needed, the error says how to let the process read them', async () => {
  const { loads, events } = await loadTwice({ sslmode: 'verify-full' })
  const [first] = loads as { readonly code: string; readonly hint: string }[]
  assert.equal(first?.code, 'CA_FILE_UNREADABLE')
  for (const word of ['HOME', '--allow-fs-read', 'sslrootcert']) assert.ok(first.hint.includes(word), first.hint)
  assert.deepEqual(events, [])
})

test('a file that is named never counts as missing', async () => {
  const { loads } = await loadTwice({ sslmode: 'prefer', sslrootcert: '/nonexistent/ca.pem' })
  assert.equal((loads[0] as { readonly code?: string }).code, 'CA_FILE_UNREADABLE')
})
