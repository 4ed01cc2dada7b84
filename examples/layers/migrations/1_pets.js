export const up = (pgm) => pgm.createTable('migrated_pets', { id: 'id', name: { type: 'text', notNull: true } })
export const down = (pgm) => pgm.dropTable('migrated_pets')
