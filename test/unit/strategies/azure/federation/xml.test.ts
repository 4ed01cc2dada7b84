import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  attributeOf,
  descendants,
  elementsIn,
  escapeXml,
  find,
  isNamed,
  loadXmlReader,
} from '../../../../../src/strategies/azure/federation/xml.ts'

const read = await loadXmlReader('the test')

test('a name is its namespace and its local part, with any prefix', () => {
  const root = read(
    '<a xmlns="urn:one" xmlns:p="urn:two"><p:b x="1" p:x="2"/><b><c xmlns=""/></b><p:b xmlns:p="urn:three"/></a>',
  )
  assert.ok(isNamed(root, 'urn:one', 'a'))
  assert.equal(find(root, ['urn:two', 'b']).length, 1)
  assert.equal(find(root, ['urn:one', 'b'], ['', 'c']).length, 1)
  assert.equal(find(root, ['urn:one', 'b'], ['urn:one', 'c']).length, 0)
  assert.equal(find(root, ['urn:three', 'b']).length, 1)
  const [b] = elementsIn(root)
  assert.ok(b !== undefined)
  assert.equal(attributeOf(b, 'urn:two', 'x'), '2')
  assert.equal(attributeOf(b, 'urn:one', 'x'), undefined)
})

test('descendants come in the order of the document, at any depth', () => {
  const depth = 2000
  const deep = read(`${'<a>'.repeat(depth)}${'</a>'.repeat(depth)}`)
  assert.equal(descendants(deep, '', 'a').length, 0, 'without a namespace there is none')
  const root = read('<a xmlns="u"><b n="1"><b n="2"/></b><c><b n="3"/></c></a>')
  assert.deepEqual(
    descendants(root, 'u', 'b').map(({ attributes }) => attributes.n),
    ['1', '2', '3'],
  )
})

test('a document type is refused, and nothing that it could declare is expanded', () => {
  const bomb = '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z SYSTEM "file:///etc/passwd">]><a>&x;&z;</a>'
  assert.throws(() => read(bomb), /^Error: it has a DTD$/)
  assert.throws(() => read('<a>&x;</a>'), /^Error: it is not well-formed XML$/)
})

test('text that is not well-formed is refused without showing it, however deep', () => {
  const texts = ['', 'secret', '<a>secret', '<a></b>', '<a/><b/>', '<p:a', `${'<a>'.repeat(200_000)}`]
  for (const text of texts) assert.throws(() => read(text), /^Error: it is not well-formed XML$/)
})

test('texts are escaped into elements', () => {
  assert.equal(escapeXml('a<b>&c'), 'a&lt;b&gt;&amp;c')
  assert.equal(read(`<a>${escapeXml(']]>&<x/>')}</a>`).text, ']]>&<x/>')
})

for (const [what, text, words] of [
  [
    'deep, then wide',
    `${'<a>'.repeat(1500)}${'<b/>'.repeat(160_000)}${'</a>'.repeat(1500)}`,
    /more than 30000 elements/,
  ],
  ['deep', `${'<a>'.repeat(3000)}${'</a>'.repeat(3000)}`, /more than 2048 elements deep/],
  ['wide', `<a>${'<b/>'.repeat(250_000)}</a>`, /more than 30000 elements/],
  [
    'full of namespaces',
    `${Array.from({ length: 100 }, (_, index) => `<a xmlns:p${index}="u">`).join('')}${'</a>'.repeat(100)}`,
    /more than 64 declarations/,
  ],
] as const) {
  test(`a text that is ${what} is refused`, () => assert.throws(() => read(text), words))
}

test('the largest accepted text is searched without delay', () => {
  const prefixes = Array.from({ length: 63 }, (_, index) => `<a xmlns:p${index}="u">`).join('')
  const wide = '<x:b y:c=""/>'.repeat(25_000)
  const root = read(`${prefixes}${'<a>'.repeat(1900)}${wide}${'</a>'.repeat(1963)}`)
  const begin = performance.now()
  for (const element of descendants(root, 'u', 'b')) attributeOf(element, 'u', 'c')
  assert.ok(performance.now() - begin < 500)
})
