import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../../src/secret.ts'
import { findSecrets } from '../support/object-graph.ts'

const SECRET = 'a secret & "such"'

test('a secret is found wherever an object holds it, and in any form', () => {
  const hidden = Object.defineProperty({}, 'inside', { value: { deep: [SECRET] }, enumerable: false })
  for (const [what, root] of Object.entries({
    property: { a: { b: `x${SECRET}y` } },
    hidden,
    symbol: { [Symbol('s')]: SECRET },
    accessor: {
      get value() {
        return SECRET
      },
    },
    inherited: Object.create({ value: SECRET }) as object,
    name: { [SECRET]: 1 },
    map: new Map([['key', { value: SECRET }]]),
    mapKey: new Map([[{ value: SECRET }, 1]]),
    set: new Set([SECRET]),
    utf8: { bytes: Buffer.from(`x${SECRET}`) },
    utf16: { bytes: Buffer.from(SECRET, 'utf16le') },
    base64: { text: Buffer.from(SECRET).toString('base64') },
    base64InAPair: { text: Buffer.from(`${SECRET}:more`).toString('base64') },
    hex: { text: Buffer.from(SECRET).toString('hex') },
    url: { text: encodeURIComponent(SECRET) },
    json: { text: JSON.stringify({ SECRET }) },
    function: Object.assign(() => undefined, { value: SECRET }),
    typed: Uint16Array.from(SECRET, (character) => character.charCodeAt(0)),
  })) {
    assert.notDeepEqual(findSecrets(root, [SECRET]), [], what)
  }
})

test('nothing is found where there is nothing, in circles, closures and private fields', () => {
  const circle: { self?: object; secret: Secret; get: () => string } = { secret: new Secret(SECRET), get: () => SECRET }
  circle.self = circle
  assert.deepEqual(findSecrets(circle, [SECRET]), [])
})
