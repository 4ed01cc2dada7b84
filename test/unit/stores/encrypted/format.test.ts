import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { PoolsmithError } from '../../../../src/errors.ts'
import { Secret } from '../../../../src/secret.ts'
import { type Contents, decrypt, encrypt } from '../../../../src/stores/encrypted/format.ts'

const KEY = createSecretKey(Buffer.alloc(32, 7))
const SUBJECT = 'The file'

const contents: Contents = {
  revision: 3,
  entries: new Map([
    [
      'sales',
      {
        version: 3,
        writtenAt: '2026-11-29T10:00:00.000Z',
        fields: new Map([
          ['user', new Secret('etl')],
          ['password', new Secret('pässwörd\n')],
        ]),
      },
    ],
  ]),
}

function codeOf(text: string, keys = [KEY]): string | undefined {
  try {
    decrypt(text, keys, SUBJECT)
    return undefined
  } catch (error) {
    assert.ok(error instanceof PoolsmithError)
    assert.ok(error.hint)
    assert.ok(!error.message.includes('pässwörd'))
    return error.code
  }
}

function plain({ revision, entries }: Contents): unknown {
  const secrets = [...entries].map(([name, { fields, ...rest }]) => {
    const values = [...fields].map(([field, value]) => [field, value.reveal()])
    return { name, ...rest, fields: values }
  })
  return { revision, secrets }
}

test('what was encrypted is decrypted, and no two writings are alike', () => {
  const texts = [encrypt(contents, KEY), encrypt(contents, KEY)]
  for (const text of texts) assert.deepEqual(plain(decrypt(text, [KEY], SUBJECT)), plain(contents))
  const [one = '', other = ''] = texts.map((text) => text.split('\n')[1])
  // Salt, nonce and all that follows.
  assert.notEqual(one.slice(0, 21), other.slice(0, 21))
  assert.notEqual(one.slice(24, 36), other.slice(24, 36))
})

test('a file of version 1 is read by every later release', () => {
  const text = [
    'poolsmith-secrets 1\n',
    'hzbdDCI9jQugOkv3VK/bX3dnXycHZTu3LWgJQBSEpwnDbxhZPbNv+85b12jPNyh1HbvpHbni/NWwNmadkGvvWQBaFjJ+/Lcwxm3d',
    'Vu5l++VZ452NYj3YYMEmE+duANoUgEd1H1yOSF3PW11WE8fjrmDt30Y84tICYPgVHnzBALfUEHmLztLtuabURBBUwD2nr26zACnt',
    'r1naNNkJa9bYBy6mme7Ad/t1xUSxgw8uWmIIuNOTPOaeFPhynBExZAYoU/6WUBkZxKkL8ievaz9+ntJ9YqZY4x8Q05/E8PmLtbY=',
    '\n',
  ].join('')
  assert.deepEqual(plain(decrypt(text, [KEY], SUBJECT)), plain(contents))
})

test('every flipped bit is found, and none changes a value', () => {
  const bytes = Buffer.from(encrypt(contents, KEY), 'latin1')
  const known = ['ENCRYPTED_FILE_DAMAGED', 'ENCRYPTED_FILE_FOREIGN', 'ENCRYPTED_FILE_VERSION']
  const header = bytes.indexOf('\n')
  for (let index = 0; index < bytes.length; index++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Buffer.from(bytes)
      flipped[index] = (flipped[index] ?? 0) ^ (1 << bit)
      const code = codeOf(flipped.toString('latin1'))
      const isExpected = index > header ? code === 'ENCRYPTED_FILE_DAMAGED' : known.includes(String(code))
      assert.ok(isExpected, `bit ${bit} of byte ${index}: ${code}`)
    }
  }
})

test('every part of a file is told from a whole one', () => {
  const text = encrypt(contents, KEY)
  assert.equal(codeOf(text.slice(0, text.length / 2)), 'ENCRYPTED_FILE_DAMAGED')
  // Without the last line end it is whole.
  for (let length = 0; length < text.length - 1; length++) {
    const code = codeOf(text.slice(0, length))
    const isInHeader = length > 0 && length < 'poolsmith-secrets 1'.length
    assert.equal(code, isInHeader ? 'ENCRYPTED_FILE_FOREIGN' : 'ENCRYPTED_FILE_DAMAGED', String(length))
  }
  assert.equal(codeOf(text.trimEnd()), undefined)
  assert.equal(codeOf(text.replaceAll('\n', '\r\n')), undefined)
  assert.equal(codeOf(`${text}more`), 'ENCRYPTED_FILE_DAMAGED')
})

test('a wrong key, a foreign file and another version are told apart', () => {
  const text = encrypt(contents, KEY)
  const others = [randomBytes(32), randomBytes(32)].map((bytes) => createSecretKey(bytes))
  assert.equal(codeOf(text, others), 'ENCRYPTED_KEY_WRONG')
  assert.equal(codeOf(text, [...others, KEY]), undefined)
  assert.equal(codeOf('{"sales":{"password":"pässwörd"}}'), 'ENCRYPTED_FILE_FOREIGN')
  assert.equal(codeOf('-----BEGIN PGP MESSAGE-----\n'), 'ENCRYPTED_FILE_FOREIGN')
  assert.equal(codeOf(text.replace('secrets 1', 'secrets 2')), 'ENCRYPTED_FILE_VERSION')
})
