module.exports = {
  testMatch: ["**/*.jest.cjs", "**/*.jest.js"],
  transform: { "\\.js$": ["babel-jest", { plugins: ["@babel/plugin-transform-modules-commonjs"] }] },
};
