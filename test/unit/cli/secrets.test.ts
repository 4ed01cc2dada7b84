import assert from 'node:assert/strict'
import { chmod, lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Finished, poolsmith } from '../../support/cli-in-process.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { startKubernetesApi } from '../../support/kubernetes-api.ts'
import { findSecrets } from '../../support/object-graph.ts'
import { startVaultDouble } from '../../support/vault/double.ts'
import { administer } from '../../support/vault/server.ts'

const isWindows = process.platform === 'win32'
const VALUE = 'the-secret-value'

/** The command on a file of its own, with a key. */
async function startSecrets() {
  const folder = await temporaryFolder()
  const path = (name: string): string => join(folder.path, name)
  const made = await poolsmith(['secrets', 'new-key', path('key')])
  assert.equal(made.code, 0, made.log)
  const environment = { POOLSMITH_SECRETS_FILE: path('secrets'), POOLSMITH_SECRETS_KEY_FILE: path('key') }
  const run = (args: readonly string[], input = '', more: Record<string, string> = {}): Promise<Finished> =>
    poolsmith(
      ['secrets', ...args],
      { ...environment, PATH: process.env.PATH ?? '', TMPDIR: folder.path, ...more },
      input,
    )
  const good = async (...[args, input, more]: Parameters<typeof run>): Promise<string> => {
    const { code, out, log } = await run(args, input, more)
    assert.deepEqual([code, log], [0, ''], args.join(' '))
    return out
  }
  return { path, run, good, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

/** A program in place of an editor: `body` is a shell script that changes $1. */
async function editorAt(path: string, body: string): Promise<string> {
  await writeFile(path, `#!/bin/sh\n${body}\n`)
  await chmod(path, 0o755)
  return path
}

test('a value goes in by standard input and comes out as it was', async () => {
  await using secrets = await startSecrets()
  const { good } = secrets
  const values = { plain: VALUE, lines: 'one\ntwo\n\n', odd: 'tab\tbell\x07 ü\u202e' }
  for (const [name, value] of Object.entries(values)) {
    assert.match(await good(['set', `prod/${name}#value`], `${value}\n`), /^encrypted:prod\/\w+#value is written/)
    assert.equal(await good(['get', `prod/${name}#value`]), `${value}\n`)
    assert.equal(await good(['get', `encrypted:prod/${name}`]), `${value}\n`)
    const { ok, value: told } = JSON.parse(await good(['get', `prod/${name}#value`, '--json'])) as Record<
      string,
      unknown
    >
    assert.deepEqual([ok, told], [true, value])
  }
})

test('the list shows names, fields and times, and never a value', async () => {
  await using secrets = await startSecrets()
  const { good } = secrets
  await good(['set', 'sales#user'], 'etl')
  await good(['set', 'sales#password'], VALUE)
  await good(['set', 'token'], VALUE)
  const text = await good(['list'])
  assert.match(text, /^sales\n.*fields.*password, user\n.*written.*20\d\d-.*\(version 2\)\n\ntoken\n.*a text/)
  const told = JSON.parse(await good(['list', '--json'])) as { secrets: { name: string; fields: string[] }[] }
  assert.deepEqual(
    told.secrets.map(({ name, fields }) => [name, fields]),
    [
      ['sales', ['password', 'user']],
      ['token', []],
    ],
  )
  assert.equal(await good(['list', 'sales']), 'password\nuser\n')
  assert.ok(!text.includes(VALUE) && !JSON.stringify(told).includes(VALUE))
})

test('a field is removed, and a secret with its last field', async () => {
  await using secrets = await startSecrets()
  const { good, run } = secrets
  await good(['set', 'sales#user'], 'etl')
  await good(['set', 'sales#password'], VALUE)
  await good(['remove', 'sales#user'])
  assert.equal(await good(['list', 'sales']), 'password\n')
  const unknown = await run(['remove', 'sales#user', '--json'])
  assert.equal(unknown.code, 4)
  assert.equal((JSON.parse(unknown.out) as { error: { code: string } }).error.code, 'SECRET_FIELD_MISSING')
  await good(['remove', 'sales#password'])
  await good(['set', 'other#x'], VALUE)
  await good(['remove', 'other'])
  assert.match(await good(['list']), /holds no secrets/)
})

test('a text and fields are not mixed by accident', async () => {
  await using secrets = await startSecrets()
  const { good, run } = secrets
  await good(['set', 'token'], VALUE)
  assert.match((await run(['set', 'token#field'], 'x')).log, /SECRET_UNUSABLE[\s\S]*is a text without fields; nothing/)
  await good(['set', 'sales#one'], VALUE)
  await good(['set', 'sales'], 'next')
  assert.equal(await good(['get', 'sales#one']), 'next\n')
  await good(['set', 'sales#two'], VALUE)
  assert.match((await run(['set', 'sales'], 'x')).log, /has the fields one, two; nothing was changed/)
})

test('a secret is edited as JSON, a field as text, in a file that is gone afterwards', {
  skip: isWindows,
}, async () => {
  await using secrets = await startSecrets()
  const { good, run, path } = secrets
  await good(['set', 'sales#user'], 'etl')
  await good(['set', 'sales#password'], VALUE)
  const look = `stat -c %a "$1" "$(dirname "$1")" > ${path('modes')}; cp "$1" ${path('seen')}; cp "$1" "$1~"`
  const VISUAL = `${await editorAt(path('editor'), `${look}; sed -i s/etl/other/ "$1"`)}`
  await good(['edit', 'sales'], '', { VISUAL })
  assert.equal(await readFile(path('modes'), 'utf8'), '600\n700\n')
  assert.deepEqual(JSON.parse(await readFile(path('seen'), 'utf8')), { user: 'etl', password: VALUE })
  assert.equal(await good(['get', 'sales#user']), 'other\n')
  const field = await editorAt(path('field'), 'printf "%s\\nmore\\n" "$(cat "$1")" > "$1"')
  await good(['edit', 'sales#password'], '', { EDITOR: field })
  assert.equal(await good(['get', 'sales#password']), `${VALUE}\nmore\n`)
  assert.match(await good(['edit', 'sales'], '', { EDITOR: 'true' }), /Nothing was changed/)
  await writeFile(path('bystander'), 'another file of the user')
  const refused: Readonly<Record<string, RegExp>> = {
    false: /the editor failed \(exit code 1\); nothing was changed/,
    'cp /dev/null': /the text is not JSON; nothing was changed/,
    [await editorAt(path('wrong'), 'echo \'{"user": 1}\' > "$1"')]: /the field user is not a text/,
    [await editorAt(path('empty'), 'echo "{}" > "$1"')]: /there are no fields/,
    [await editorAt(path('link'), `ln -sf ${path('bystander')} "$1"`)]: /is a symbolic link/,
    [await editorAt(path('hard'), `ln -f ${path('bystander')} "$1"`)]: /the text is not JSON/,
    [await editorAt(path('beside'), `ln -s ${path('bystander')} "$1~"; exit 1`)]: /the editor failed/,
    '/no/such/editor': /the editor failed \(exit code 12[67]\)/,
  }
  for (const [EDITOR, message] of Object.entries(refused)) {
    const { code, log } = await run(['edit', 'sales'], '', { EDITOR })
    assert.notEqual(code, 0, EDITOR)
    assert.match(log, message)
    assert.deepEqual(findSecrets([log], [VALUE]), [])
  }
  assert.match((await run(['edit', 'sales'])).log, /Set VISUAL or EDITOR/)
  assert.equal(await readFile(path('bystander'), 'utf8'), 'another file of the user')
  const left = (await readdir(path('.'))).filter((name) => name.startsWith('poolsmith-'))
  assert.deepEqual(left, [])
})

test('an edit of a secret that was changed meanwhile is refused', { skip: isWindows }, async () => {
  await using secrets = await startSecrets()
  const { good, run, path } = secrets
  await good(['set', 'sales#user'], 'etl')
  const main = join(import.meta.dirname, '../../../src/cli/main.ts')
  const meanwhile = `echo new | '${process.execPath}' '${main}' secrets set sales#user >&2; sed -i s/etl/other/ "$1"`
  const EDITOR = await editorAt(path('editor'), meanwhile)
  const { code, log } = await run(['edit', 'sales'], '', { EDITOR })
  assert.equal(code, 4)
  assert.match(log, /SECRET_CONFLICT/)
  assert.equal(await good(['get', 'sales#user']), 'new\n')
})

test('a key is made once, and changed by putting another before it', { skip: isWindows }, async () => {
  await using secrets = await startSecrets()
  const { good, run, path } = secrets
  assert.equal((await lstat(path('key'))).mode & 0o777, 0o600)
  const before = await readFile(path('key'), 'utf8')
  const again = await run(['new-key', path('key')])
  assert.equal(again.code, 4)
  assert.match(again.log, /exists already[\s\S]*poolsmith secrets rekey/)
  await good(['set', 'sales#password'], VALUE)
  const next = await good(['new-key'])
  await writeFile(path('key'), next + before)
  await good(['rekey'])
  await writeFile(path('key'), next)
  assert.equal(await good(['get', 'sales#password']), `${VALUE}\n`)
  await writeFile(path('key'), before)
  const old = await run(['get', 'sales#password'])
  assert.equal(old.code, 4)
  assert.match(old.log, /ENCRYPTED_KEY_WRONG/)
  await writeFile(path('secrets'), 'something else')
  assert.match((await run(['rekey'])).log, /ENCRYPTED_FILE_FOREIGN/)
  assert.match((await run(['rekey', '--file', path('none')])).log, /SECRET_MISSING/)
})

test('a secret of Vault is written over the version that was read', async () => {
  await using secrets = await startSecrets()
  await using vault = await startVaultDouble()
  await administer(vault, 'POST', 'secret/data/sales', { data: { password: 'old', port: 5432 } })
  const more = { VAULT_ADDR: vault.address, VAULT_TOKEN: vault.rootToken }
  const { good, run } = secrets
  const written = await good(['set', 'vault:secret/sales#password'], VALUE, more)
  assert.match(written, /^vault:secret\/sales#password is written \(version 2\)/)
  assert.equal(await good(['get', 'vault:secret/sales#password'], '', more), `${VALUE}\n`)
  assert.equal(await good(['list', 'vault:secret/sales'], '', more), 'password\nport\n')
  await good(['remove', 'vault:secret/sales#port'], '', more)
  assert.equal(await good(['list', 'vault:secret/sales'], '', more), 'password\n')
  assert.match((await run(['remove', 'vault:secret/sales'], '', more)).log, /Only the encrypted file can remove/)
  assert.match((await run(['get', 'vault:secret/sales#password'])).log, /vault_addr[\s\S]*VAULT_ADDR/)
})

test('a configured connection says where the store is, and how to log in to it', async () => {
  await using secrets = await startSecrets()
  await using api = await startKubernetesApi('first')
  const { good, run, path } = secrets
  const configured = (extra: Readonly<Record<string, unknown>>) => ({
    ...api.environment,
    POOLSMITH_CONN_SALES: JSON.stringify({ conn_type: 'postgres', host: 'db', extra }),
  })
  const more = configured({ ...api.extra, sslmode: 'require' })
  const by = ['--connection', 'sales']
  await good(['set', 'k8s:prod/sales#password', ...by], VALUE, more)
  assert.equal(await good(['get', 'k8s:prod/sales#password', ...by], '', more), `${VALUE}\n`)
  assert.equal(await good(['list', 'k8s:prod/sales', ...by], '', more), 'keystore\npassword\n')
  assert.match((await run(['get', 'k8s:prod/sales', ...by], '', more)).log, /has several fields/)
  // Without it, the account is where a pod has it.
  const { code, log } = await run(['get', 'k8s:prod/sales#password'], '', api.environment)
  assert.equal(code, 4)
  assert.match(log, /file of the service account/)
  await good(['set', 'sales#password'], VALUE)
  const inFile = { ...configured({ secrets_file: path('secrets') }), POOLSMITH_SECRETS_FILE: '' }
  assert.equal(await good(['get', 'sales#password', ...by], '', inFile), `${VALUE}\n`)
  const wrong = await run(['get', 'k8s:prod/sales#password', ...by], '', configured({ k8s_timeout: 'soon' }))
  assert.equal(wrong.code, 3)
  assert.match(wrong.log, /extra.k8s_timeout/)
  assert.match((await run(['list', '--connection', 'other'])).log, /CONNECTION_NOT_FOUND/)
})

test('a store that does not answer ends the command', async () => {
  await using secrets = await startSecrets()
  await using vault = await startVaultDouble()
  vault.fault = () => 'handled'
  const extra = { vault_addr: vault.address, vault_token: 'x', vault_timeout: 0.2 }
  const more = { POOLSMITH_CONN_SALES: JSON.stringify({ conn_type: 'postgres', host: 'db', extra }) }
  for (const action of ['get', 'set', 'list', 'remove', 'edit']) {
    const { code, log } = await secrets.run([action, 'vault:secret/sales#password', '--connection', 'sales'], 'x', more)
    assert.equal(code, 4, action)
    assert.match(log, /STORE_TIMEOUT/)
  }
})

test('a file or a variable can only be read', async () => {
  await using secrets = await startSecrets()
  const { good, run } = secrets
  assert.equal(await good(['get', 'env:SALES'], '', { SALES: VALUE }), `${VALUE}\n`)
  const { code, log } = await run(['set', 'env:SALES'], 'x', { SALES: VALUE })
  assert.equal(code, 2)
  assert.match(log, /The environment variable SALES can only be read/)
})

test('nothing that was given in a wrong place is repeated', async () => {
  await using secrets = await startSecrets()
  const { run, path } = secrets
  const wrong: readonly (readonly string[])[] = [
    ['set', 'sales#password', VALUE],
    ['set', 'sales#password', `--${VALUE}`],
    ['set', 'sales#password', '--value', VALUE],
    ['set', `sales#password=${VALUE} `.repeat(200)],
    ['set', `sales:${VALUE}#x`],
    [VALUE, 'sales#password'],
    ['set'],
    ['get', 'sales#password', '--file', ''],
  ]
  for (const args of wrong) {
    for (const json of [[], ['--json']]) {
      const { code, out, log } = await run([...args, ...json], 'x')
      assert.equal(code, 2, args.join(' ').slice(0, 100))
      assert.deepEqual(findSecrets([out, log], [VALUE]), [])
    }
  }
  for (const input of ['', '\n', 'a\0b', 'x'.repeat(2_000_000)]) {
    const { code, log } = await run(['set', 'sales#password'], input)
    assert.equal(code, 2)
    assert.match(log, /value/)
  }
  await mkdir(path('folder'))
  assert.equal((await run(['get', 'sales#password', '--file', path('folder')])).code, 4)
})
