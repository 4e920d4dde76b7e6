"""Google's Gemini API: generateContent and its batches."""
